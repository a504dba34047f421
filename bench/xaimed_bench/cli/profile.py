"""What this device can do, or what the compiler made of the kernels.

  xaimed profile                       the profile card of this device: roofs, images per second, shares of the roofs,
                                       ROAD, agreement of precisions, memory, energy, largest batch
  xaimed profile --only roofs,kernels  these parts; the others stay as they were stored
  xaimed profile --only predicted --issue-rate 927 --bandwidth 3000
                                       what the kernels take on such a GPU at least, from their counted instructions
  xaimed profile --static              every kernel compiled for every GPU, none needed; 1 when a figure moved
  xaimed profile --static --accept     take the present figures as the accepted ones

Results go to reports/results/<device>/ in a checkout, else to ./xaimed-results/. Finished parts are stored at once.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.given import folder_to_write, rate, words
from xaimed_bench.device import DEVICE_HELP
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnreadableError, UnusableError

if TYPE_CHECKING:
    from xaimed_reports.profile.card import Card
    from xaimed_reports.store.records import Machine


def arguments(parser: argparse.ArgumentParser) -> None:
    """Device, parts, and the static half."""
    parser.add_argument("--device", type=words, help=DEVICE_HELP)
    parser.add_argument("--out", type=folder_to_write, metavar="DIR", help="where to write")
    parser.add_argument(
        "--only",
        type=words,
        help="parts of the card, separated by commas; with --static: kernels whose name holds this, or one target",
    )
    parser.add_argument(
        "--issue-rate",
        type=rate,
        metavar="G",
        help="of the GPU that times are predicted for: warp instructions, in thousands of millions a second; "
        "on CUDA it is measured where left out",
    )
    parser.add_argument("--bandwidth", type=rate, metavar="G", help="of that GPU: copying, in GB/s")
    parser.add_argument("--quick", action="store_true", help="shorter and smaller: a first impression")
    parser.add_argument(
        "--static", action="store_true", help="compile every kernel and compare with what is accepted"
    )
    parser.add_argument("--accept", action="store_true", help="with --static: accept the present figures")


def run(given: argparse.Namespace) -> int:
    """Measure or compile, print, store. 1 when a part failed or a compiled figure moved."""
    checkout = Path("reports/xaimed_reports").is_dir()
    home = Path("reports/results" if checkout else "xaimed-results")
    folder = given.out or home
    if given.static:
        if given.device or given.quick or given.issue_rate or given.bandwidth:
            raise UnusableError("--static compiles for every GPU at once; leave out what is of one device")
        return _static(folder / "static.json", accept=given.accept, only=given.only)
    if given.accept:
        raise UnusableError("--accept belongs to --static")
    if (given.issue_rate is None) != (given.bandwidth is None):
        raise UnusableError("a prediction needs both --issue-rate and --bandwidth")
    return _measured(given, folder, home / "counts.json", own_folder=given.out is None and checkout)


def _static(path: Path, *, accept: bool, only: str | None) -> int:
    if find_spec("triton") is None:
        raise UnusableError("--static compiles with Triton, which is not installed; it exists for Linux only")
    from xaimed_bench.profile.gate import Gate, run_gate
    from xaimed_bench.profile.static import Job, compile_all, compiler_name, jobs
    from xaimed_reports.profile.static import static_summary

    def compiled(wanted: list[Job]) -> dict[str, dict[str, dict[str, int]]]:
        found = compile_all(wanted)
        say("\n".join(static_summary(found)))
        return found

    gate = Gate(compiler_name(), "configurations", "figures", jobs, compiled)
    return run_gate(gate, path, accept=accept, only=only)


def _measured(given: argparse.Namespace, folder: Path, counts: Path, *, own_folder: bool) -> int:
    from xaimed_bench.bench_options import named
    from xaimed_bench.device import device_named
    from xaimed_bench.measure.machine import machine_facts
    from xaimed_bench.profile import choose_setting, measure_parts
    from xaimed_bench.profile.predicted import accepted_counts
    from xaimed_reports.profile.card import PARTS, Rates
    from xaimed_reports.profile.card_markdown import card_markdown
    from xaimed_reports.store.devices import device_folder
    from xaimed_reports.store.writing import alone_in

    device = device_named(given.device)
    predicted = given.bandwidth or (device.type == "cuda" and counts.exists())
    asked = named("--only", given.only, PARTS, [part for part in PARTS if part != "predicted" or predicted])
    setting, machine = choose_setting(device, quick=given.quick), machine_facts(device)
    rates = Rates(given.issue_rate, given.bandwidth) if given.bandwidth else None
    setting = replace(setting, counts=counts, rates=rates)
    if "predicted" in asked:
        accepted_counts(setting)  # else refuse before anything is measured
    place = folder / device_folder(machine) if own_folder else folder
    with alone_in(place):  # two runs would each store the card without the other's parts
        begun = _begun(place / "profile.json", machine, setting.subject_name, keep=given.only is not None)
        card = measure_parts(setting, begun, asked, keep=lambda card: _store(place, card))
    say(card_markdown(card))
    say(f"\nstored in {place}")
    return 1 if set(card.failed) & set(asked) else 0


def _begun(path: Path, machine: Machine, subject: str, *, keep: bool) -> Card:
    """The card to go on with: the stored one where only some parts are asked for and the machine is the same."""
    from xaimed_reports.profile.card import Card, load_card

    if keep and path.exists():
        try:
            stored = load_card(path)
        except UnreadableError as error:
            say(f"xaimed profile: {error}; it is replaced", sys.stderr)
        else:
            if (stored.machine, stored.subject) == (machine, subject):
                return stored
            say(f"xaimed profile: {path} is of another machine or model; it is replaced", sys.stderr)
    return Card(machine, subject)


def _store(place: Path, card: Card) -> None:
    from xaimed_reports.profile.card import store_card
    from xaimed_reports.profile.card_markdown import card_markdown
    from xaimed_reports.profile.roofline import PICTURES
    from xaimed_reports.store.writing import write_whole

    store_card(place / "profile.json", card)
    for name, draw in PICTURES.items():
        if (drawn := draw(card)) is not None:
            write_whole(place / name, drawn)
    write_whole(place / "profile.md", card_markdown(card, pictures=True))
