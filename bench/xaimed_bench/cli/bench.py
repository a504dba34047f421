"""Measure the methods, ROAD and memory of your own model, beside grad-cam or alone.

  xaimed bench --model mypackage.models:build --json run.json       what the function returns
  xaimed bench --model timm:resnet18 --checkpoint weights.pt --json run.json
  xaimed bench --model resnet50 --data scans/ --methods xgradcam,ablationcam --json run.json
  xaimed bench ... --resume                                         go on after a stop

xaimed report, compare and history add take what it writes. It works wherever xaimed is installed, without a checkout.
Where grad-cam is not installed, or with --alone, maps and scores are checked by xaimed's own in float64. Without
--checkpoint a network of a library has seeded weights; a function's model is measured as it is returned. Exit codes:
0 rows were timed; 1 a row is wrong or failed; 2 input that cannot be used; 3 nothing was timed.
"""

from __future__ import annotations

import argparse
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.given import STDOUT, Parser, count, file_to_write, words
from xaimed_bench.device import DEVICE_HELP
from xaimed_reports.format import say
from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    from xaimed_reports.store.rows import Run

NOTHING_TIMED = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the images, what is measured, and where it goes."""
    parser.add_argument(
        "--model", type=words, required=True, metavar="NAME",
        help="package.module:function, timm:NAME, or a known network such as resnet50",
    )  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="its weights: a state_dict file")
    parser.add_argument(
        "--json", type=file_to_write, required=True, metavar="FILE", help="where the results go"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of images; default: phantoms")
    parser.add_argument(
        "--data-name", type=words, help="what to call these images in results that may be shared"
    )
    parser.add_argument(
        "--methods", metavar="NAMES",
        help="with commas between; default: grad-cam's, but for those that run the model many times",
    )  # fmt: skip
    parser.add_argument(
        "--layer",
        type=words,
        help="dotted name, or last or earlier where known; several with commas between, which refinecam needs; "
        "default: last, else what explain chooses",
    )
    parser.add_argument(
        "--batch", type=count(1), default=4, help="images explained in one call (%(default)s)"
    )
    parser.add_argument(
        "--size", type=count(16), help="pixels a side; default: what the model was made for, or 224"
    )
    parser.add_argument("--alone", action="store_true", help="do not measure grad-cam")
    parser.add_argument("--no-road", action="store_true", help="do not measure ROAD")
    parser.add_argument(
        "--budget", type=count(1), metavar="SECONDS", help="skip what does not fit; default: 300"
    )
    parser.add_argument(
        "--profile", choices=("quick", "full", "gate"), default="quick",
        help="how long each is measured (%(default)s); gate, without grad-cam's times, is what comparisons take",
    )  # fmt: skip
    parser.add_argument(
        "--shuffle", type=count(0), metavar="SEED", help="measure in an order that this decides"
    )
    parser.add_argument(
        "--only-case", action="append", type=words, default=[], metavar="KEY", help="measure only this row"
    )
    parser.add_argument("--device", help=DEVICE_HELP)
    parser.add_argument("--resume", action="store_true", help="take finished cases from an unfinished run")


def run(given: argparse.Namespace) -> int:
    """Measure, store, show."""
    if given.json == STDOUT:
        raise UnusableError(
            "--json -: give the name of a file, for results are written beside it as they come"
        )
    from xaimed_bench.bench_options import named, planned
    from xaimed_bench.device import device_named
    from xaimed_bench.measure.session import new_run
    from xaimed_bench.running.outputs import Outputs
    from xaimed_bench.running.own import chosen, measure_own, own_cases
    from xaimed_bench.running.own_model import Given, own_subject
    from xaimed_core import METHODS
    from xaimed_reports.show.terminal import console, show

    few = (name for name, method in METHODS.items() if method.oracle and method.of_one_pass)
    methods, device = named("--methods", given.methods, METHODS, few), device_named(given.device)
    several = [name for name in methods if METHODS[name].places == "layers"]
    if several and "," not in (given.layer or ""):
        raise UnusableError(f"{several[0]} reads several layers; give e.g. --layer layer2,layer3,layer4")
    alone = given.alone or find_spec("pytorch_grad_cam") is None
    if alone and not given.alone:
        say("grad-cam is not installed: xaimed is measured alone (pip install grad-cam)")
    asked = Given(given.model, given.checkpoint, given.data, given.layer, given.batch, given.size, methods[0])
    subject, findings = own_subject(asked, device)
    for finding in findings:
        say(f"note: {finding}")
    gate, road = given.profile == "gate", not given.no_road
    cases = own_cases(subject, given.model, methods, alone=alone, road=road, gate=gate)
    cases = chosen(cases, given.only_case, given.shuffle)
    real = given.data_name or "a folder of images"  # a folder's own name may say too much
    images_from = real if given.data else "phantoms (mri), seed 0"
    head = new_run(device, profile=given.profile, images_from=images_from, root=Path.cwd())
    outputs = Outputs(given.json, given.json.with_suffix(".journal.jsonl"))
    session = measure_own(cases, head, planned(given), device, outputs, resume=given.resume)
    show(session.run(), console())
    say(f"\nStored in {given.json}. Next: xaimed report {given.json}\n{session.counted()}")
    return _exit_code(session.run())


def bench_to_run(text: str) -> str:
    """The type of --bench: a file of benches, or a command `xaimed bench ...`, whose options are looked at."""
    from xaimed_bench.running.alternate import is_command

    if not is_command(words(text)):
        return text
    parser = Parser(prog="xaimed bench", add_help=False)
    arguments(parser)
    placed = Path("placed.json")
    try:
        asked = parser.parse_args(["--json", str(placed), *shlex.split(text)[2:]])
    except (UnusableError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    given = {
        "--json": asked.json != placed,
        "--resume": asked.resume,
        "--profile": asked.profile != parser.get_default("profile"),
        "--shuffle": asked.shuffle is not None,
        "--only-case": asked.only_case,
    }
    if taken := [name for name, value in given.items() if value]:
        raise argparse.ArgumentTypeError(f"{text}: {taken[0]} is set for each process; leave it out")
    return text


def _exit_code(stored: Run) -> int:
    from xaimed_reports.store.records import OURS
    from xaimed_reports.store.rows import failure, timed

    own = [row for row in stored.rows if row.impl == OURS]
    if any(found[0] in ("wrong", "failed", "oom") for row in own if (found := failure(row)) is not None):
        return 1
    return 0 if any(timed(row) is not None for row in own) else NOTHING_TIMED
