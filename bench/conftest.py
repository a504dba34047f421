"""The `measure` fixture: pytest-benchmark rows for xaimed and for the reference from one interleaved measurement.

Whichever of a case's tests runs first measures all implementations of the case; the others replay their samples.
Parametrise benches with short strings only: the ids are the join key of every later comparison.

Options that cannot be used (a device that is not here, a folder without images, a checkpoint that does not fit) end
the run in one line before anything is measured, with exit code 2, and so does a disk that is full.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_benchmark.logger import PytestBenchmarkWarning

from xaimed_bench.bench_options import (
    extra_work,
    need_fitting_checkpoint,
    need_usable,
    options,
    planned,
    seed,
)
from xaimed_bench.device import device_named
from xaimed_bench.measure import Plan
from xaimed_bench.measure.case import Question
from xaimed_bench.measure.machine import others_share
from xaimed_bench.measure.session import Session, new_run, what_finished
from xaimed_bench.measure.subject import Subjects
from xaimed_bench.running.ending import UNUSABLE, cannot_write, kept, usage
from xaimed_bench.running.order import by_importance, need_known, shuffled
from xaimed_bench.running.outcome import case_of, report
from xaimed_bench.running.outputs import Outputs
from xaimed_bench.trial.extra_work import with_extra_work
from xaimed_reports.compare.sides import LOADED_SHARE
from xaimed_reports.show.terminal import console, show
from xaimed_reports.store.jsonform import to_json
from xaimed_reports.store.records import OURS, REFERENCE, Case

ROOT = Path(__file__).parent.parent
PEERS = ("torchcam", "captum")
SESSION = pytest.StashKey[Session]()
OUTPUTS = pytest.StashKey[Outputs]()

collect_ignore = ["bench_tradeoff.py"]
"""It takes many minutes: it runs when it is named, not with all the others."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("xaimed", "measuring against grad-cam")
    for name, settings in options().items():
        group.addoption(name, **settings)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Say in one line what cannot be used."""
    try:
        return (yield)
    except pytest.UsageError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return UNUSABLE


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that cannot be used, and let what is measured warn."""
    with usage():
        need_usable(config.option)
    stored = config.option.benchmark_json
    config.stash[OUTPUTS] = outputs = Outputs(stored, _journal_path(config, stored))
    config.option.benchmark_json = outputs.part  # written by pytest-benchmark, named by `finish`
    config.addinivalue_line("filterwarnings", "default")  # what is measured may warn: no error of xaimed
    warnings.filterwarnings("default", category=PytestBenchmarkWarning)  # the same, at a run's end
    warnings.filterwarnings("ignore", "Not saving anything", category=PytestBenchmarkWarning)
    config.option.benchmark_quiet = not config.option.verbose  # xaimed's table closes the run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "measure" in metafunc.fixturenames:
        metafunc.parametrize("impl", [OURS, REFERENCE, *_peers(metafunc.config)])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the cases asked for, and bring them into the order asked for; a case's tests stay together."""
    keys = {
        item: case_of(item, 0).key for item in items if isinstance(item, pytest.Function) and _measured(item)
    }
    if not keys:
        return
    cases = [case_of(item, 0) for item in items if item in keys]
    if config.option.only_case:
        with usage():
            need_known(config.option.only_case, cases)
        gone = [item for item in items if keys.get(item) not in config.option.only_case]
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]
    order = None
    if (number := seed(config.option.shuffle)) is not None:
        order = shuffled(cases, number)
    elif planned(config.option).ends:
        order = by_importance(cases)
    if order is not None:
        items.sort(key=lambda item: order.index(keys[item]) if item in keys else -1)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the session of measurements once it is known how many cases there are."""
    config = session.config
    tests = [item for item in session.items if isinstance(item, pytest.Function) and _measured(item)]
    if not tests or config.option.collectonly:
        return
    with usage():
        need_fitting_checkpoint(config.option.checkpoint, (t.callspec.params.get("model", "") for t in tests))
    real = config.option.data_name or "a folder of images"  # a folder's own name may say too much
    images_from = real if config.option.data else "phantoms (mri), seed 0"
    head = new_run(_device(config), profile=config.option.profile, images_from=images_from, root=ROOT)
    checks_only = config.option.benchmark_disable or config.option.benchmark_skip
    outputs, journal, recovered = config.stash[OUTPUTS], None, None
    with usage():
        if not checks_only:
            journal = outputs.hold()
        if config.option.resume:
            recovered = what_finished(outputs.journal_path, head)
        config.stash[SESSION] = Session(
            head,
            None if checks_only else _plan(config, tests),
            _device(config),
            expected=len({case_of(test, 0).key for test in tests}),
            recovered=recovered,
            journal=journal,
            cold=config.option.cold,
        )
    if recovered is not None:
        config.stash[SESSION].pictures |= outputs.kept_pictures({row.case.key for row in recovered.run.rows})
    if not checks_only:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        config.add_cleanup(lambda: signal.signal(signal.SIGTERM, before))
        _say_loaded(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if OUTPUTS in config.stash:
        config.stash[OUTPUTS].close()


def _say_loaded(config: pytest.Config) -> None:
    """Warn at the start, when waiting still helps."""
    share = others_share(0.5)
    if share is not None and share > LOADED_SHARE:
        _say(
            config,
            f"\nOther processes use {share:.0%} of this machine: times will be doubtful; a quiet one decides more.",
        )


def _plan(config: pytest.Config, tests: Sequence[pytest.Function]) -> Plan:
    """The profile's plan; a bench whose cases take long says how long they may take together (``TOTAL_S``)."""
    plan = planned(config.option)
    asked = [total_s for t in tests if (total_s := getattr(t.module, "TOTAL_S", None)) is not None]
    if not asked or plan.total_s is None or config.option.budget is not None:
        return plan
    return dataclasses.replace(plan, total_s=max(asked), ends=False)


@pytest.fixture(scope="session")
def subjects(pytestconfig: pytest.Config) -> Subjects:
    """Models with their images, on the device and from the data and weights that the options name."""
    data, weights = (
        Path(p) if p else None for p in (pytestconfig.option.data, pytestconfig.option.checkpoint)
    )
    return Subjects(_device(pytestconfig), data=data, checkpoint=weights)


@pytest.fixture
def asked_peers(pytestconfig: pytest.Config) -> tuple[str, ...]:
    """The packages beside grad-cam that --peers asked for and that are installed."""
    return _peers(pytestconfig)


@pytest.fixture
def measure(request: pytest.FixtureRequest, impl: str) -> Callable[..., None]:
    """Measure xaimed against a reference: checked first, then timed in turns, a row for each in the JSON."""
    session = request.config.stash[SESSION]
    here = case_of(request.node, 0)
    if not session.knows(here.key) and not session.fits():
        session.leave_out(here)  # before its model is built
    if (left := session.left_out(here.key)) is not None:
        pytest.skip(left)

    def measure(
        ours: Callable[[], Any],
        *,
        images: int,
        against: Callable[[], Any] | None = None,
        what: str = "reference",
        peers: Mapping[str, Callable[[], Any]] | None = None,
        pictures: Callable[[Any, Any], Mapping[str, torch.Tensor]] | None = None,
        **question: Any,
    ) -> None:
        """Ask one question.

        ``against`` is the reference and ``what`` its name and version; ``peers``: further implementations, by
        name. ``pictures``: named images ``[h, w]`` or ``[h, w, 3]`` in [0, 1] of xaimed's and the expected output, for
        the report. The rest as in `xaimed_bench.measure.case.Question`: allowed, judge, truth, exact, absent, ...
        """
        case = case_of(request.node, images)
        share = extra_work(request.config.option.extra_work).get(case.key, 0.0)
        if share and not session.knows(case.key):
            ours = with_extra_work(ours, share, session.device)
        asked = Question(
            case=case,
            arms={OURS: ours, **({REFERENCE: against} if against else {}), **(peers or {})},
            what={OURS: f"xaimed with {share:.0%} extra work" if share else "xaimed", REFERENCE: what},
            keep=pictures and (lambda mine, expected: session.keep(case.key, pictures(mine, expected))),
            **question,
        )
        with kept(request.config.stash[OUTPUTS].journal_path):
            if session.knows(case.key):
                rows = session.rows(asked)
            else:
                _say(request.config, f"\n{session.begin(case.key)} ")
                rows = session.rows(asked)
                request.config.stash[OUTPUTS].keep_pictures(session.pictures)
        report(request, rows.get(impl))

    return measure


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """pytest-benchmark writes its JSON here."""
    try:
        return (yield)
    except OSError as error:
        print(f"\n{cannot_write(session.config.stash[OUTPUTS].journal_path, error)}", file=sys.stderr)
        session.exitstatus = UNUSABLE


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["node"] = machine_info["release"] = (
        ""  # results are shared: no host names, no private kernel names
    )


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Add the run and the rows that pytest-benchmark cannot hold, for they have no time."""
    if SESSION not in config.stash:
        return
    head = to_json(config.stash[SESSION].run())
    stored = [b["extra_info"]["xaimed"] for b in output_json["benchmarks"]]
    names = {(Case(**row["case"]).key, row["impl"]) for row in stored}
    head["rows"] = [row for row in head["rows"] if (Case(**row["case"]).key, row["impl"]) not in names]
    output_json["xaimed"] = head


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if SESSION not in config.stash or not config.stash[SESSION].run().rows:
        return
    stored = config.stash[OUTPUTS].finish(config.stash[SESSION].run())
    terminalreporter.ensure_newline()
    terminalreporter.section("xaimed")
    show(config.stash[SESSION].run(), console())
    if stored is not None:
        terminalreporter.write_line(f"\nStored in {stored}. Next: xaimed report {stored}")
    terminalreporter.write_line(config.stash[SESSION].counted())


def _say(config: pytest.Config, text: str) -> None:
    """Print while a test runs, in spite of pytest's capturing."""
    capture = config.pluginmanager.getplugin("capturemanager")
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if capture is not None and reporter is not None:
        with capture.global_and_fixture_disabled():
            reporter.write(text, flush=True)


def _measured(item: pytest.Function) -> bool:
    return "measure" in item.fixturenames


def _peers(config: pytest.Config) -> tuple[str, ...]:
    return tuple(name for name in PEERS if config.option.peers and importlib.util.find_spec(name))


def _device(config: pytest.Config) -> torch.device:
    return device_named(config.option.device)


def _journal_path(config: pytest.Config, stored: Path | None) -> Path:
    beside = stored.with_suffix(".journal.jsonl") if stored else ROOT / "xaimed-results/last.journal.jsonl"
    return Path(config.option.journal) if config.option.journal else beside
