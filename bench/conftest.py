"""The `measure` fixture: pytest-benchmark rows for xaimed and for the reference from one interleaved measurement.

Whichever of a case's tests runs first measures all implementations of the case; the others replay their samples.
Parametrise benches with short strings only: the ids are the join key of every later comparison.

Options that cannot be used (a device that is not here, a folder without images, a checkpoint that does not fit) end
the run in one line before anything is measured, with exit code 4, pytest's own for errors of usage.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import random
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.logger import PytestBenchmarkWarning

from xaimed_bench.bench_options import extra_work, need_fitting_checkpoint, need_usable, options
from xaimed_bench.device import device_named
from xaimed_bench.measure import PROFILES, Plan
from xaimed_bench.measure.case import Question
from xaimed_bench.measure.session import Session, new_run, what_finished
from xaimed_bench.measure.subject import Subjects
from xaimed_bench.trial.extra_work import with_extra_work
from xaimed_reports.show.terminal import console, show
from xaimed_reports.store.journal import Journal, Recovered
from xaimed_reports.store.jsonform import UnusableError, to_json
from xaimed_reports.store.load import pictures_path
from xaimed_reports.store.records import OURS, REFERENCE, SCHEMA, Case
from xaimed_reports.store.rows import Row, Run, Timed, failure

ROOT = Path(__file__).parent.parent
PEERS = ("torchcam", "captum")
SESSION = pytest.StashKey[Session]()

collect_ignore = ["bench_tradeoff.py"]
"""It trains networks first: it runs when it is named, not with all the others."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("xaimed", "measuring against grad-cam")
    for name, settings in options().items():
        group.addoption(name, **settings)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that cannot be used, and let what is measured warn."""
    with _usage():
        need_usable(config.option)
    config.addinivalue_line(
        "filterwarnings", "default"
    )  # what is measured may warn; that is no error of xaimed
    warnings.filterwarnings(
        "default", category=PytestBenchmarkWarning
    )  # the same for its own, at a run's end
    if hasattr(config.option, "benchmark_quiet"):
        config.option.benchmark_quiet = (
            not config.option.verbose
        )  # xaimed's table closes the run; -v shows both


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "measure" in metafunc.fixturenames:
        metafunc.parametrize("impl", [OURS, REFERENCE, *_peers(metafunc.config)])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the cases asked for, and bring them into the order asked for; a case's tests stay together."""
    keys = {
        item: _case(item, 0).key for item in items if isinstance(item, pytest.Function) and _measured(item)
    }
    if config.option.only_case:
        gone = [item for item in items if keys.get(item) not in config.option.only_case]
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]
    if config.option.shuffle is not None:
        order = sorted(set(keys.values()))
        random.Random(config.option.shuffle).shuffle(order)
        items.sort(key=lambda item: order.index(keys[item]) if item in keys else -1)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the session of measurements once it is known how many cases there are."""
    config = session.config
    tests = [item for item in session.items if isinstance(item, pytest.Function) and _measured(item)]
    if not tests or config.option.collectonly:
        return
    with _usage():
        need_fitting_checkpoint(config.option.checkpoint, (t.callspec.params.get("model", "") for t in tests))
    real = config.option.data_name or "a folder of images"  # a folder's own name may say too much
    images_from = real if config.option.data else "phantoms (mri), seed 0"
    head = new_run(_device(config), profile=config.option.profile, images_from=images_from, root=ROOT)
    path = _journal_path(config)
    checks_only = config.option.benchmark_disable or config.option.benchmark_skip
    config.stash[SESSION] = Session(
        head,
        None if checks_only else _plan(config, tests),
        _device(config),
        expected=len({_case(test, 0).key for test in tests}),
        recovered=_recovered(path, head) if config.option.resume else None,
        journal=None if checks_only else Journal(path),
        cold=config.option.cold,
    )


def _plan(config: pytest.Config, tests: Sequence[pytest.Function]) -> Plan:
    """The profile's plan; a bench whose cases take long says how long they may take together (``TOTAL_S``)."""
    plan = PROFILES[config.option.profile]
    asked = [total_s for t in tests if (total_s := getattr(t.module, "TOTAL_S", None)) is not None]
    return dataclasses.replace(plan, total_s=max(asked)) if asked and plan.total_s is not None else plan


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
        case = _case(request.node, images)
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
        if not session.knows(case.key):
            _say(request.config, f"\n{session.begin(case.key)} ")
        _report(request, session.rows(asked).get(impl))

    return measure


@contextmanager
def _usage() -> Generator[None]:
    """What a user gave and cannot be used is an error of usage to pytest."""
    try:
        yield
    except UnusableError as error:
        raise pytest.UsageError(str(error)) from error


def _case(item: pytest.Function, images: int) -> Case:
    """The case a test belongs to: its function's name in words, and every parameter but the implementation."""
    axes = {name: value for name, value in item.callspec.params.items() if name != "impl"}
    wrong = [name for name, value in axes.items() if not isinstance(value, str)]
    if wrong:
        raise TypeError(
            f"{item.nodeid}: parametrise with short strings only, {', '.join(wrong)} is no string"
        )
    return Case(item.originalname.removeprefix("bench_").replace("_", " "), axes, images)


def _report(request: pytest.FixtureRequest, row: Row | None) -> None:
    """Turn a row into a test's outcome, and its samples into a pytest-benchmark entry."""
    if row is None:
        pytest.skip("this implementation is not part of the question")
    if isinstance(row, Timed):
        counted = [wall_s for _, wall_s in row.timing.counted]
        request.node.add_marker(pytest.mark.benchmark(timer=_replay(counted)))
        benchmark = request.getfixturevalue("benchmark")
        benchmark.group = row.case.key
        benchmark.extra_info["xaimed"] = {"schema": SCHEMA, **to_json(row)}
        benchmark.pedantic(lambda: None, rounds=len(counted), iterations=1)
    match failure(row):
        case None:
            return
        case ("wrong" | "failed" as status, reason) if row.impl in (OURS, REFERENCE):
            pytest.fail(f"{row.case.key}, {row.what}: {status}: {reason}", pytrace=False)
        case (status, reason):
            pytest.skip(f"{status}: {reason}")


def _replay(samples: list[float]) -> Callable[[], float]:
    """A timer whose successive readings differ by the samples: 0, first sample, 0, second sample, ..."""
    readings = iter([reading for sample in samples for reading in (0.0, sample)])

    def replayed_samples() -> float:
        return next(readings)

    return replayed_samples


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["node"] = machine_info["release"] = (
        ""  # results are shared: no host names, no private kernel names
    )


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Add the run and the rows that pytest-benchmark cannot hold, for they have no time; pictures go beside it."""
    if SESSION not in config.stash:
        return
    head = to_json(config.stash[SESSION].run())
    stored = [b["extra_info"]["xaimed"] for b in output_json["benchmarks"]]
    names = {(Case(**row["case"]).key, row["impl"]) for row in stored}
    head["rows"] = [row for row in head["rows"] if (Case(**row["case"]).key, row["impl"]) not in names]
    output_json["xaimed"] = head
    path = _json_path(config)
    if path is not None and config.stash[SESSION].pictures:
        np.savez_compressed(pictures_path(path), **config.stash[SESSION].pictures)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if SESSION not in config.stash or not config.stash[SESSION].run().rows:
        return
    terminalreporter.ensure_newline()
    terminalreporter.section("xaimed")
    show(config.stash[SESSION].run(), console())
    stored = _json_path(config)
    if stored is not None:
        terminalreporter.write_line(f"\nStored in {stored}. Next: xaimed report {stored}")


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


def _json_path(config: pytest.Config) -> Path | None:
    """Where pytest-benchmark writes: its option holds a path, in earlier releases an open file."""
    stored = config.option.benchmark_json
    return Path(stored if isinstance(stored, str | Path) else stored.name) if stored else None


def _journal_path(config: pytest.Config) -> Path:
    stored = _json_path(config)
    beside = stored.with_suffix(".journal.jsonl") if stored else ROOT / "xaimed-results/last.journal.jsonl"
    return Path(config.option.journal) if config.option.journal else beside


def _recovered(path: Path, head: Run) -> Recovered | None:
    try:
        return what_finished(path, head)
    except (ValueError, OSError) as error:
        raise pytest.UsageError(f"--resume: {error}") from error
