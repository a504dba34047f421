"""Read a stored run: pytest-benchmark JSON written by `pytest bench`, or the journal of an unfinished one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from xaimed_reports.store.journal import recover
from xaimed_reports.store.jsonform import UnreadableError, parse_object, read_text
from xaimed_reports.store.kinds import named
from xaimed_reports.store.older import run_from
from xaimed_reports.store.rows import Run, Timed


def load(path: Path | str) -> Run:
    """The run stored in ``path``. Raises UnreadableError: one line with the file and what is wrong."""
    path = Path(path)
    text = read_text(path)
    try:
        run = recover(text).run if path.suffix == ".jsonl" else _run(parse_object(text))
        _need_once(run)
        _need_together(run)
        return run
    except UnreadableError as error:
        raise UnreadableError(f"{path.name}: {error}") from error


def _need_once(run: Run) -> None:
    """Of two rows of one implementation in one case nobody knows which is right."""
    seen: set[tuple[str, str]] = set()
    for row in run.rows:
        if (row.case.key, row.impl) in seen:
            raise UnreadableError(f"{row.case.key}: {row.impl} is there twice")
        seen.add((row.case.key, row.impl))


def _need_together(run: Run) -> None:
    """Times of one case are divided block by block."""
    blocks: dict[str, set[int]] = {}
    for row in run.rows:
        if not isinstance(row, Timed):
            continue
        common = blocks.setdefault(row.case.key, set(row.timing.blocks))
        common &= row.timing.blocks.keys()
        if not common:
            raise UnreadableError(f"{row.case.key}: its rows share no block, so they were not timed together")


def pictures_path(path: Path) -> Path:
    """Where the pictures of a stored run lie: beside it, so that the run itself can be shared without them."""
    return path.with_suffix(".pictures.npz")


def _run(data: dict[str, Any]) -> Run:
    stored = data.get("xaimed")
    if not isinstance(stored, dict):
        known = (
            "a pytest-benchmark file, but not one of xaimed's"
            if "benchmarks" in data
            else "not a benchmark file"
        )
        missing = (
            f"{known}: the key 'xaimed' is missing; make one with: pytest bench --benchmark-json=out.json"
        )
        raise UnreadableError(named(data, missing))
    head = cast("dict[str, Any]", stored)
    found = [_stored_row(b, i) for i, b in enumerate(_benchmarks(data))]
    rows = [*(row for row in found if row is not None), *_list(head, "rows")]
    return run_from(head, rows, "xaimed")


def _benchmarks(data: dict[str, Any]) -> list[Any]:
    found = data.get("benchmarks")
    if not isinstance(found, list):
        raise UnreadableError("benchmarks must be a list")
    return cast("list[Any]", found)


def _stored_row(benchmark: Any, index: int) -> Any:
    if not isinstance(benchmark, dict):
        raise UnreadableError(f"benchmarks[{index}] must be an object")
    extra = cast("dict[str, Any]", benchmark).get("extra_info")
    return cast("dict[str, Any]", extra).get("xaimed") if isinstance(extra, dict) else None


def _list(head: dict[str, Any], key: str) -> list[Any]:
    found = head.get(key)
    if not isinstance(found, list):
        raise UnreadableError(f"xaimed.{key} must be a list")
    return cast("list[Any]", found)
