"""HAM10000's table in the forms in which it comes, and in those in which it should not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xaimed_bench.data.tables import Row, first, read_table

PLAIN = "lesion_id,image_id,dx,age\nL0,a,nv,40\nL1,b.jpg,mel,\n"
ROWS = (Row("a", "nv", "L0"), Row("b.jpg", "mel", "L1"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "ascii"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_table_is_read_in_any_common_encoding(encoding, newline, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(PLAIN.replace("\n", newline).encode(encoding))
    table = read_table(path)
    assert table.rows == ROWS
    assert table.findings == ()


def test_a_table_that_is_not_in_utf8_is_read_as_windows_1252_and_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("image_id,dx\na,nævus\n".encode("cp1252"))
    table = read_table(path)
    assert table.rows == (Row("a", "nævus", ""),)
    assert table.findings == ("t.csv is not in UTF-8 and was read as Windows-1252",)


def test_rows_without_an_image_or_a_class_are_left_out_and_their_lines_said(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image_id,dx\na,nv\n,nv\nb,\n\nc\n  ,  \nd, mel \n")
    table = read_table(path)
    assert table.rows == (Row("a", "nv", ""), Row("d", "mel", ""))
    assert table.findings == ("4 rows of t.csv name no image or no class (first: line 3, line 4, line 6)",)


def test_quoted_line_ends_and_zeros_do_not_end_the_reading(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'image_id,dx,note\na,nv,"two\nlines"\nb\0,mel,\n')
    assert [row.label for row in read_table(path).rows or ()] == ["nv", "mel"]


def test_a_table_of_other_columns_tells_nothing(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image;class\na;nv\n")
    assert read_table(path) == read_table(path)
    assert read_table(path).rows is None
    path.write_text("")
    assert read_table(path).rows is None


def test_a_field_beyond_reason_is_a_finding(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("image_id,dx\na," + "x" * 200_000)
    (finding,) = read_table(path).findings
    assert finding.startswith("t.csv could not be read: field larger than field limit")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda p: p.symlink_to("t.csv")])
def test_what_is_no_file_is_a_finding(make, tmp_path):
    make(tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv")
    assert table.rows is None
    assert table.findings == ("t.csv is no regular file and was not read",)


def test_a_file_that_must_not_be_read_is_a_finding(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "t.csv").write_text(PLAIN)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert read_table(tmp_path / "t.csv").findings == (
        "t.csv could not be read: [Errno 13] Permission denied",
    )


def test_three_names_are_given_of_many():
    assert first([]) == ""
    assert first(["a"]) == " (first: a)"
    assert first(list("abcd")) == " (first: a, b, c)"
