"""Rows of an evaluation: a Parquet file per batch, whole or not there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.writing import write_whole

COLUMNS = pa.schema(
    [
        ("image", pa.string()),
        ("group", pa.string()),
        ("label", pa.dictionary(pa.int32(), pa.string())),
        ("predicted", pa.dictionary(pa.int32(), pa.string())),
        ("correct", pa.bool_()),
        ("confidence", pa.float32()),
        ("layer", pa.dictionary(pa.int32(), pa.string())),
        ("method", pa.dictionary(pa.int32(), pa.string())),
        ("metric", pa.dictionary(pa.int32(), pa.string())),
        ("value", pa.float32()),
    ]
)
"""One row per image, method and metric. ``group``: its lesion or patient, where known. ``correct``: whether the
predicted class is the label; null without one. ``confidence``: the softmax of the predicted class."""


def shard_path(folder: Path, batch: int) -> Path:
    return folder / "rows" / f"batch-{batch:06}.parquet"


def missing(folder: Path, batches: int) -> list[int]:
    return [k for k in range(batches) if not shard_path(folder, k).exists()]


def store(
    folder: Path,
    batch: int,
    columns: Mapping[str, Sequence[Any]],
    notes: Sequence[Mapping[str, str]],
    spent: Mapping[str, float] = {},
) -> None:
    """Write a batch's rows, what was odd about its images, and what it took, all or nothing.

    Raises OSError with the file's name.
    """
    table = pa.table({name: columns.get(name, []) for name in COLUMNS.names}, schema=COLUMNS)
    table = table.replace_schema_metadata(
        {"notes": json.dumps(list(notes)), "spent": json.dumps(dict(spent))}
    )
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", write_page_checksum=True)
    write_whole(shard_path(folder, batch), out.getvalue())


def notes(folder: Path) -> list[dict[str, str]]:
    """What was odd about images, in the order of batches."""
    return [note for said in _metadata(folder, b"notes") for note in said or ()]


def spent(folder: Path) -> list[dict[str, float]]:
    """What each batch took, in the order of batches."""
    return [said or {} for said in _metadata(folder, b"spent")]


def _metadata(folder: Path, name: bytes) -> Iterator[Any]:
    """What the file of each batch says beside its rows; None where it does not."""
    return (json.loads((shard.schema.metadata or {}).get(name, b"null")) for shard in each_shard(folder))


def each_shard(folder: Path) -> Iterator[pa.Table]:
    """The rows of each batch, in their order. Raises UnusableError where a file is damaged."""
    for path in sorted((folder / "rows").glob("batch-*.parquet")):
        try:
            yield pq.read_table(path, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error


def read(folder: Path, layer: str | None = None, metric: str | None = None) -> pa.Table:
    """Rows, of one layer and metric where given. Raises UnusableError where a file is damaged."""
    import pyarrow.dataset as ds

    wanted = None
    for name, value in (("layer", layer), ("metric", metric)):
        if value is not None:
            here = ds.field(name) == value
            wanted = here if wanted is None else wanted & here
    files = sorted(str(path) for path in (folder / "rows").glob("batch-*.parquet"))
    try:
        checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
        form = ds.ParquetFileFormat(default_fragment_scan_options=checked)
        return ds.dataset(files, schema=COLUMNS, format=form).to_table(filter=wanted)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(folder / "rows", error) from error


def _damaged(path: Path, error: Exception) -> UnusableError:
    return UnusableError(f"{path}: {str(error).splitlines()[0]}; remove that file and give --resume")
