"""A run of pytest that measures: its cases, its session of measurements, and the files it writes."""

from __future__ import annotations

import dataclasses
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import pytest
from pytest_benchmark.logger import Logger, PytestBenchmarkWarning

from xaimed_bench.bench_options import extra_work, need_fitting_checkpoint, need_usable, planned, seed
from xaimed_bench.device import device_named
from xaimed_bench.measure import Plan
from xaimed_bench.measure.machine import others_share
from xaimed_bench.measure.session import Session, new_run, what_finished
from xaimed_bench.running.asked import question_of
from xaimed_bench.running.declared import given, prefix
from xaimed_bench.running.ending import UNUSABLE, cannot_write, kept, usage
from xaimed_bench.running.order import by_importance, need_apart, need_known, shuffled
from xaimed_bench.running.outcome import case_of, report
from xaimed_bench.running.outputs import Outputs
from xaimed_bench.running.plugin import measured
from xaimed_bench.trial.extra_work import with_extra_work
from xaimed_reports.compare.sides import LOADED_SHARE
from xaimed_reports.format import say
from xaimed_reports.show.terminal import console, show
from xaimed_reports.store.jsonform import to_json
from xaimed_reports.store.records import Case


@final
class Measuring:
    """Registered with pytest as a plugin of this run. Raises UsageError for options that cannot be used."""

    def __init__(self, config: pytest.Config) -> None:
        self.option = given(config)
        with usage(config):
            need_usable(self.option)
        self.device = device_named(self.option.device)
        self.images_from = "as each bench makes them"
        if self.option.data:  # a folder's own name may say too much
            self.images_from = self.option.data_name or "a folder of images"
        self._config = config
        self._session: Session | None = None
        stored = Path(self.option.benchmark_json) if self.option.benchmark_json else None
        if hasattr(config, "workerinput"):  # of pytest-xdist: each worker holds a part, and times nothing
            stored = None
        self._outputs = Outputs(stored, _journal_path(self.option.journal, stored, config.rootpath))

    @property
    def session(self) -> Session:
        """Where cases are measured, once they are collected."""
        assert self._session is not None
        return self._session

    # ------------------------------------------------------------------------------------------ before the first case
    def arrange(self, items: list[pytest.Item]) -> None:
        """Keep the cases asked for, and bring them into the order asked for; a case's tests stay together."""
        tests = _measured(items)
        with usage(self._config):
            cases = {test: case_of(test, 0) for test in tests}
            need_apart((case.key, test.nodeid.partition("[")[0]) for test, case in cases.items())
            need_known(self.option.only_case, cases.values())
        if self.option.only_case:
            chosen = {test for test in tests if cases[test].key in self.option.only_case}
            gone = [item for item in items if item not in chosen]
            self._config.hook.pytest_deselected(items=gone)
            items[:] = [item for item in items if item in chosen]
        order = None
        if (number := seed(self.option.shuffle)) is not None:
            order = shuffled(list(cases.values()), number)
        elif planned(self.option).ends:
            order = by_importance(list(cases.values()))
        if order is not None:
            items.sort(key=lambda item: order.index(cases[item].key) if item in cases else -1)  # pyright: ignore[reportArgumentType]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Start the session of measurements once it is known how many cases there are."""
        tests = _measured(session.items)
        if not tests or self._config.option.collectonly:
            return
        for test in tests:
            test.add_marker(
                pytest.mark.filterwarnings("default")
            )  # what is measured may warn: no error of xaimed
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            self._begin(tests, alone=len(tests) == len(session.items))

    def _begin(self, tests: Sequence[pytest.Function], *, alone: bool) -> None:
        benchmarks: Any = self._config.pluginmanager.get_plugin("pytest-benchmark")
        if benchmarks is None:
            raise pytest.UsageError(
                "measure writes its rows by pytest-benchmark, which this run is without; leave -p no:benchmark out"
            )
        self._take_over(benchmarks, alone=alone)
        checks_only = benchmarks.disabled or benchmarks.skip
        option, outputs, journal, recovered = self.option, self._outputs, None, None
        with usage(self._config):
            need_fitting_checkpoint(
                option.checkpoint, [str(t.callspec.params.get("model", "")) for t in tests]
            )
            head = new_run(
                self.device,
                profile=option.profile,
                images_from=self.images_from,
                root=self._config.rootpath,
            )
            if not checks_only:
                journal = outputs.hold()
            if option.resume:
                recovered = what_finished(outputs.journal_path, head)
            self._session = Session(
                head,
                None if checks_only else self._plan(tests),
                self.device,
                expected=len({case_of(test, 0).key for test in tests}),
                recovered=recovered,
                journal=journal,
                cold=option.cold,
                prefix=prefix(self._config),
            )
        if recovered is not None:
            keys = {row.case.key for row in recovered.run.rows}
            self._session.pictures |= outputs.kept_pictures(keys)
        if not checks_only:
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
            self._config.add_cleanup(partial(_undo, before))
            self._say_loaded()

    def _take_over(self, benchmarks: Any, *, alone: bool) -> None:
        """Let pytest-benchmark write the part that is named when it is whole; xaimed's table replaces its own."""
        benchmarks.json = self._outputs.part
        if alone and not self._config.option.verbose:
            benchmarks.quiet = True
            benchmarks.logger.level = Logger.QUIET

    def _plan(self, tests: Sequence[pytest.Function]) -> Plan:
        """The profile's plan; a bench whose cases take long says how long they may take together (``TOTAL_S``)."""
        plan = planned(self.option)
        asked = [total_s for t in tests if (total_s := getattr(t.module, "TOTAL_S", None)) is not None]
        if not asked or plan.total_s is None or self.option.budget is not None:
            return plan
        return dataclasses.replace(plan, total_s=max(asked), ends=False)

    def _say_loaded(self) -> None:
        """Warn at the start, when waiting still helps."""
        share = others_share(0.5)
        if share is not None and share > LOADED_SHARE:
            self._say(
                f"\nOther processes use {share:.0%} of this machine: times will be doubtful; a quiet one decides more."
            )

    # --------------------------------------------------------------------------------------------------- case by case
    def skip_where_no_time_is_left(self, request: pytest.FixtureRequest) -> None:
        """Skip the test of a case that does not fit any more, before its model is built."""
        here = case_of(request.node, 0)
        if not self.session.knows(here.key) and not self.session.fits():
            self.session.leave_out(here)
        if (left := self.session.left_out(here.key)) is not None:
            pytest.skip(left)

    def ask(
        self, request: pytest.FixtureRequest, impl: str, ours: Callable[[], Any], images: int, **question: Any
    ) -> None:
        """Measure the case where that was not done yet, and turn one implementation's row into the test's outcome."""
        case, session = case_of(request.node, images), self.session
        called = "xaimed"
        if share := extra_work(self.option.extra_work).get(case.key, 0.0):
            called = f"xaimed with {share:.0%} extra work"
            if not session.knows(case.key):
                ours = with_extra_work(ours, share, session.device)
        asked = question_of(case, session, ours, called=called, **question)
        with kept(self._config, self._outputs.journal_path):
            if session.knows(case.key):
                rows = session.rows(asked)
            else:
                self._say(f"\n{session.begin(case.key)} ")
                rows = session.rows(asked)
                self._outputs.keep_pictures(session.pictures)
        report(request, rows.get(impl))

    def _say(self, text: str) -> None:
        """Print while a test runs, in spite of pytest's capturing."""
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        reporter: Any = self._config.pluginmanager.getplugin("terminalreporter")
        if capture is not None and reporter is not None:
            with capture.global_and_fixture_disabled():
                reporter.write(text, flush=True)

    # -------------------------------------------------------------------------------------------- after the last case
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """pytest-benchmark writes its JSON here; that nothing was timed is no error."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("default", category=PytestBenchmarkWarning)
                warnings.filterwarnings("ignore", "Not saving anything", category=PytestBenchmarkWarning)
                return (yield)
        except OSError as error:
            say(f"\n{cannot_write(self._config, self._outputs.journal_path, error)}", sys.stderr)
            session.exitstatus = UNUSABLE

    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Results are shared: no host names, no private kernel names."""
        machine_info["node"] = machine_info["release"] = ""

    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        """Add the run and the rows that pytest-benchmark cannot hold, for they have no time."""
        if self._session is None:
            return
        head = to_json(self._session.run())
        extra = [benchmark["extra_info"] for benchmark in output_json["benchmarks"]]
        stored = [
            each["xaimed"] for each in extra if "xaimed" in each
        ]  # others are benchmarks of the user's own
        names = {(Case(**row["case"]).key, row["impl"]) for row in stored}
        head["rows"] = [r for r in head["rows"] if (Case(**r["case"]).key, r["impl"]) not in names]
        output_json["xaimed"] = head

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the JSON, and close with xaimed's table."""
        if self._session is None or not self._session.run().rows:
            return
        stored = self._outputs.finish(self._session.run())
        terminalreporter.ensure_newline()
        terminalreporter.section("xaimed")
        show(self._session.run(), console())
        if stored is not None:
            terminalreporter.write_line(f"\nStored in {stored}. Next: xaimed report {stored}")
        terminalreporter.write_line(self._session.counted())

    def pytest_unconfigure(self) -> None:
        self._outputs.close()


def _measured(items: Sequence[pytest.Item]) -> list[pytest.Function]:
    return [item for item in items if isinstance(item, pytest.Function) and measured(item)]


def _undo(handler: Any) -> None:
    signal.signal(signal.SIGTERM, handler)


def _journal_path(asked: str | None, stored: Path | None, root: Path) -> Path:
    beside = stored.with_suffix(".journal.jsonl") if stored else root / "xaimed-results/last.journal.jsonl"
    return Path(asked) if asked else beside
