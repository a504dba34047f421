"""Look through a folder of images before anything is trained or tested on it.

  xaimed data FOLDER                   class folders, with or without Training/ and Testing/, or HAM10000's table
  xaimed data FOLDER --drop-leaks      what is left without test images that training holds, too
  xaimed data FOLDER --json data.json  all of it, with every file's name

Reads every image. Prints the classes in each split, sizes, images that two splits share, files that cannot be read,
and what else its user must know. Exit codes: 0 nothing stands against using it; 1 images to test or validate on leak
from training, or files cannot be read; 2 a folder that cannot be used.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.given import STDOUT, count, file_to_write, write
from xaimed_reports.format import printable
from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    from rich.table import Table

    from xaimed_bench.data.sets.survey import Survey

LEAKS = ("bytes", "near")
_WAYS: Mapping[str, str] = {"bytes": "same bytes", "group": "same lesion", "near": "same look"}
_LEAKING = "images to test or validate on that training holds, too"
_FEW = 5
"""Names shown of each kind; --json writes all."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The folder, what to leave out, and where to write."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the images")
    add_drop_leaks(parser)
    parser.add_argument(
        "--seed", type=count(0), default=0, help="of splits that are made; default: %(default)s"
    )
    parser.add_argument("--workers", type=count(0), default=2, help="reading processes; default: %(default)s")
    parser.add_argument("--json", type=file_to_write, metavar="FILE", help="write all of it; - for stdout")


def add_drop_leaks(parser: argparse.ArgumentParser) -> None:
    """Declare --drop-leaks, which every command on a set of images has: False, "bytes" or "near"."""
    parser.add_argument(
        "--drop-leaks", nargs="?", choices=LEAKS, const="bytes", default=False,
        help="leave out images to test or validate on that training holds, too: with the same bytes or of the same "
        "lesion (bytes, where nothing is given), or also those that look the same (near)",
    )  # fmt: skip


def run(given: argparse.Namespace) -> int:
    """Read, print, write. Raises UnusableError for a folder that holds no images."""
    from xaimed_bench.data.sets import open_set
    from xaimed_bench.data.sets.survey import survey

    try:
        images = open_set(given.folder, seed=given.seed, drop_leaks=given.drop_leaks)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UnusableError(str(error)) from error
    found = survey(images, workers=given.workers if len(images.items) > _FEW else 0)
    if given.json:
        write(given.json, json.dumps(as_json(found), indent=1))
    if given.json != STDOUT:
        _show(found)
    there = {item.name for item in images.items}
    return int(bool(found.unreadable) or any(leak.name in there for leak in images.leaks))


def as_json(found: Survey) -> dict[str, object]:
    """Everything, with every file's name."""
    images = found.images
    return {
        "name": images.name,
        "digest": images.digest,
        "classes": images.classes,
        "counts": {split: dict(counts) for split, counts in found.counts.items()},
        "sizes": [{"width": w, "height": h, "images": n} for (w, h), n in sorted(found.sizes.items())],
        "lesions": found.lesions,
        "leaks": [{"name": leak.name, "way": leak.way, "of": leak.of} for leak in images.leaks],
        "unreadable": [{"name": name, "why": why} for name, why in found.unreadable],
        "remarks": [{"name": name, "what": what} for name, what in found.remarks],
        "findings": images.findings,
    }


def _show(found: Survey) -> None:
    from rich.text import Text

    from xaimed_reports.show.terminal import console

    out = console()
    out.print(_counts(found))
    for sentence in _sentences(found):
        out.print(Text(printable(sentence)))


def _counts(found: Survey) -> Table:
    """Images of each class in each split, and how many of them leak."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    items = {item.name: item.label or "" for item in found.images.items}
    leaking = Counter((leak.way, items[leak.name]) for leak in found.images.leaks if leak.name in items)
    ways = [way for way in _WAYS if way != "group" or any(leak.way == way for leak in found.images.leaks)]
    table = Table(
        title=Text(printable(found.images.name)), title_justify="left", show_footer=True,
        box=SIMPLE, collapse_padding=True, pad_edge=False,
    )  # fmt: skip
    table.caption, table.caption_justify = f"{', '.join(_WAYS[way] for way in ways)}: {_LEAKING}", "left"
    table.add_column("class", footer="all", overflow="fold")
    rows = {
        label: [n.get(label, 0) for n in found.counts.values()] for label in found.images.classes or ("",)
    }
    heads = (*found.counts, "images", *(_WAYS[way] for way in ways))
    for label, row in rows.items():
        row += [sum(row), *(leaking[way, label] for way in ways)]
    for head, column in zip(heads, zip(*rows.values(), strict=True), strict=True):
        table.add_column(head, footer=f"{sum(column):,}", justify="right")
    for label, row in rows.items():
        table.add_row(Text(printable(label) or "(no classes)"), *(f"{n:,}" for n in row))
    return table


def _sentences(found: Survey) -> Iterable[str]:
    """What a table cannot say."""
    if len(found.sizes) == 1:
        ((width, height),) = found.sizes
        yield f"all images are {width} x {height} pixels"
    elif found.sizes:
        (width, height), most = Counter(found.sizes).most_common(1)[0]
        least, largest = (
            pick(found.sizes, key=lambda size: (size[0] * size[1], size)) for pick in (min, max)
        )
        yield (
            f"{len(found.sizes)} image sizes, from {least[0]} x {least[1]} to {largest[0]} x {largest[1]} pixels; "
            f"{most:,} images are {width} x {height}"
        )
    if found.lesions:
        yield f"{found.lesions:,} images have a lesion that is marked by a mask or boxes"
    yield from found.images.findings
    if found.unreadable:
        yield f"{len(found.unreadable):,} images cannot be read:"
        yield from _listed([f"{name}: {why}" for name, why in found.unreadable])
    by_remark: defaultdict[str, list[str]] = defaultdict(list)
    for name, remark in found.remarks:
        by_remark[remark].append(name)
    for remark, names in by_remark.items():
        yield f"{len(names):,} images {remark}:"
        yield from _listed(names)


def _listed(lines: Sequence[str]) -> list[str]:
    more = [f"  ... and {len(lines) - _FEW:,} more; --json FILE writes all"] if len(lines) > _FEW else []
    return [*(f"  {line}" for line in lines[:_FEW]), *more]
