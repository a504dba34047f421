"""Long work is announced once, short work never, and a terminal's line is cleared also after an interrupt."""

import io
import sys
import threading

import pytest
import torch
from torch import nn

from xaimed_core import explain, progress
from xaimed_core.progress import Progress


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(steps_s, total, *, terminal=False, show=True, raises=None):
    stream, clock = Stream(terminal), Clock()
    work = Progress("road", total, show=show, stream=stream, clock=clock)
    try:
        with work as step:
            for seconds in steps_s:
                clock.now += seconds
                step(1)
            if raises:
                raise raises
    except KeyboardInterrupt:
        pass
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_short_work_is_silent(terminal):
    assert run([0.1] * 20, 20, terminal=terminal) == ""
    assert run([2.9], 1, terminal=terminal) == ""


def test_long_work_is_announced_once_before_most_of_it_is_done():
    assert run([1.2] * 3, 100) == "road: about 100 forwards, 2 min\n"
    assert run([1.2] * 100, 100) == "road: about 100 forwards, 2 min\n"


def test_a_slow_first_step_is_no_measure_of_the_others():
    assert run([30.0, 0.01], 9) == "road: about 9 forwards, 30 s\n"


def test_a_terminal_shows_the_time_left_and_is_cleared():
    said = run([1.2] * 4, 100, terminal=True)
    assert said.startswith("road: about 100 forwards, 2 min\n\r")
    assert "road: 4 of 100 forwards, 2 min left" in said
    assert said.endswith("\r\x1b[K")
    assert said.count("\n") == 1


def test_an_interrupt_leaves_no_half_line():
    said = run([1.2] * 4, 100, terminal=True, raises=KeyboardInterrupt())
    assert said.endswith("\r\x1b[K")
    assert run([1.2] * 4, 100, raises=KeyboardInterrupt()) == "road: about 100 forwards, 2 min\n"


def test_it_can_be_silenced():
    assert run([10.0] * 4, 100, terminal=True, show=False) == ""


def test_three_seconds_without_a_step_are_said_once_and_never_after_the_end():
    stream = Stream(False)
    work = Progress("road", 8, stream=stream, clock=Clock())
    with work:
        work.overdue()
        work.overdue()
    assert stream.getvalue().count("\n") == 1
    assert "compile" in stream.getvalue()
    work.overdue()
    assert stream.getvalue().count("\n") == 1
    late = Progress("road", 8, stream=Stream(False), clock=Clock())
    with late:
        pass
    late.overdue()
    assert late._stream.getvalue() == ""


def test_no_stream_or_a_broken_one_never_stops_the_work(monkeypatch):
    class Broken(Stream):
        def write(self, text):
            raise OSError("gone")

    clock = Clock()
    with Progress("road", 100, stream=Broken(True), clock=clock) as step:
        for _ in range(5):
            clock.now += 2
            step(1)
    monkeypatch.setattr(sys, "stderr", None)
    with Progress("road", 100, clock=clock) as step:
        for _ in range(5):
            clock.now += 2
            step(1)


def test_threads_may_step_together():
    stream, clock = Stream(False), Clock()
    with Progress("road", 4001, stream=stream, clock=clock) as step:
        step(1)
        clock.now = 10.0
        threads = [threading.Thread(target=lambda: [step(1) for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert step.__self__._done == 4001
    assert stream.getvalue().count("\n") == 1


def test_nothing_waits_after_the_end():
    before = threading.active_count()
    with Progress("road", 3) as step:
        step(3)
    assert threading.active_count() <= before + 1
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(1)
    assert threading.active_count() <= before


class HoldsOfEachImage(nn.Module):
    """Adds something of its own for each image of the batch, so that whole batches run again."""

    def forward(self, x):
        return x + torch.arange(len(x)).view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (list, ""),  # pooled, then linear: a closed form
        (lambda: (nn.ReLU(), nn.Conv2d(16, 8, 3), nn.ReLU()), "AblationCAM at 0: about 128 ablations, 1 s\n"),
        (
            lambda: (HoldsOfEachImage(), nn.Conv2d(16, 8, 3), nn.ReLU()),
            "AblationCAM at 0: about 128 ablations, 1 s\n",
        ),
    ],
    ids=["closed form", "by plan", "whole batches"],
)
def test_ablations_are_announced_by_their_layer_unless_they_are_a_closed_form(
    behind, said, monkeypatch, capsys
):
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    ends = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), *behind(), *ends).eval()
    images = torch.rand(8, 3, 12, 12)
    model(images)
    threads = threading.active_count()
    explain(model, images, "ablationcam", "0", progress=False)
    assert capsys.readouterr().err == ""
    explain(model, images, "ablationcam", "0")
    assert capsys.readouterr().err == said
    assert threading.active_count() == threads


def test_every_ablation_is_counted_once(monkeypatch):
    counted = list[int]()
    monkeypatch.setattr(Progress, "step", lambda self, count=1: counted.append(count))
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)
    )
    images = torch.rand(8, 3, 12, 12)
    model(images)
    with torch.no_grad():
        model[0].bias[3:9] = -9.0  # dead channels: nothing to run
        model[0].weight[3:9] = 0.0
    explain(model.eval(), images, "ablationcam", "1")
    assert sum(counted) == 8 * 16
    assert len(counted) > 1


def test_no_thread_is_left_behind():
    before = threading.active_count()
    for _ in range(20):
        with Progress("road", 3):
            pass
        assert threading.active_count() == before
