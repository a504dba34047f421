"""What this device can do, or what the compiler made of the kernels.

  xaimed profile                     measured roofs of this device: copy bandwidth, matrix rates, launch overhead
  xaimed profile --static            every kernel compiled for every GPU, none needed; 1 when a figure moved
  xaimed profile --static --accept   take the present figures as the accepted ones

Results go to reports/results/ in a checkout, else to ./xaimed-results/.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Device, and the static half."""
    parser.add_argument("--device", help="e.g. cuda:0; default: CUDA where there is one, else cpu")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write")
    parser.add_argument(
        "--static", action="store_true", help="compile every kernel and compare with what is accepted"
    )
    parser.add_argument("--accept", action="store_true", help="with --static: accept the present figures")


def run(given: argparse.Namespace) -> int:
    """Measure or compile, print, store."""
    checkout = Path("reports/xaimed_reports").is_dir()
    folder = given.out or Path("reports/results" if checkout else "xaimed-results")
    return (
        _static(folder / "static.json", accept=given.accept)
        if given.static
        else _measured(given.device, folder)
    )


def _static(path: Path, *, accept: bool) -> int:
    from xaimed_core.measure.static import compile_all, compiler_name
    from xaimed_reports.jsonform import UnreadableError
    from xaimed_reports.static import load_static, static_changes, store_static

    compiler = compiler_name()
    try:
        accepted = load_static(path, compiler)
    except UnreadableError as error:
        print(f"xaimed profile: {error}", file=sys.stderr)
        return 2
    if accepted is None and not accept:
        print(
            f"xaimed profile: no figures are accepted for {compiler}; add --accept to take the present ones"
        )
        return 2
    found = compile_all(lambda text: print(text, file=sys.stderr))
    if accept:
        store_static(path, compiler, found)
        print(f"{len(found)} kernels accepted for {compiler} in {path}")
        return 0
    lines = static_changes(accepted or {}, found)
    print("\n".join(lines) or f"all {len(found)} kernels compile to what is accepted for {compiler}")
    return 1 if lines else 0


def _measured(device_name: str | None, folder: Path) -> int:
    import torch

    from xaimed_core.measure.roofs import card_markdown, measure_card

    device = torch.device(device_name or ("cuda" if torch.cuda.is_available() else "cpu"))
    card = measure_card(device)
    text = card_markdown(card)
    print(text)
    place = folder / card.slug
    place.mkdir(parents=True, exist_ok=True)
    (place / "profile.json").write_text(json.dumps(asdict(card), indent=1) + "\n", encoding="utf-8")
    (place / "profile.md").write_text(text + "\n", encoding="utf-8")
    print(f"\nstored in {place}")
    return 0
