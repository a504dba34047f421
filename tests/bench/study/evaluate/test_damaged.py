"""What an evaluation kept and something damaged: refused with what to do, never believed."""

import pyarrow.parquet as pq
import pytest

from xaimed_bench.study.evaluate.settings import load_settings
from xaimed_bench.study.evaluate.shards import COLUMNS, each_shard, read, shard_path, store
from xaimed_bench.study.evaluate.thresholds import load_thresholds
from xaimed_reports.store.jsonform import UnusableError


def kept(folder):
    """Rows of one batch, with numbers in every column that holds some."""
    values = {"double": [0.1 * i for i in range(64)], "float": [0.1 * i for i in range(64)]}
    text = [f"image {i}" for i in range(64)]
    columns = {
        field.name: values.get(str(field.type), text if str(field.type) == "string" else [None] * 64)
        for field in COLUMNS
    }
    store(folder, 0, columns, [])
    return shard_path(folder, 0)


def test_no_flipped_bit_in_what_a_column_holds_changes_a_row(tmp_path):
    """Of each page's content; Parquet keeps no checksum of a page's head and of the file's end."""
    path = kept(tmp_path)
    raw, whole = path.read_bytes(), read(tmp_path).to_pydict()
    first = pq.ParquetFile(path).metadata.row_group(0).column(COLUMNS.names.index("value"))
    begin = first.dictionary_page_offset or first.data_page_offset
    refused = unnoticed = 0
    for at in range(begin, begin + first.total_compressed_size):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :])
        for rows in (lambda: read(tmp_path), lambda: next(each_shard(tmp_path))):
            try:
                unnoticed += rows().to_pydict() != whole
            except UnusableError:
                refused += 1
    assert unnoticed == 0
    assert refused > first.total_compressed_size


@pytest.mark.parametrize(
    ("name", "load", "advice"),
    [
        ("settings.json", load_settings, "give another --out"),
        ("thresholds.json", load_thresholds, "remove it and give --resume"),
    ],
)
def test_a_damaged_note_beside_the_rows_says_what_to_do(name, load, advice, tmp_path):
    (tmp_path / name).write_text('{"cut')
    with pytest.raises(UnusableError, match=advice):
        load(tmp_path)
