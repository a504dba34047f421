"""One thread's explanation is invisible to every other, and an interrupt at any line leaves nothing behind."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xaimed_core import explain
from xaimed_core.isolation.subject import subject_of

METHODS_HERE = ("xgradcam", "eigencam", "ablationcam")


class ByClosure(nn.Module):
    """Its forward is a closure over the network itself, so that no copy can stand for it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.run = lambda images: net(images)  # noqa: PLW0108 - the closure is what is tested

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images)


HOLDERS: dict[str, Callable[[nn.Module], tuple[nn.Module, str]]] = {
    "replica": lambda net: (net, "block"),
    "borrowed": lambda net: (ByClosure(net), "net.block"),
}


@pytest.mark.parametrize("held", HOLDERS)
def test_four_threads_explain_and_four_predict_as_if_each_were_alone(net, images, held):
    model, layer = HOLDERS[held](net)
    batches = [images + i for i in range(4)]
    explain(model, batches[0], METHODS_HERE, layer)
    expected = [explain(model, batch, METHODS_HERE, layer).maps for batch in batches]
    with torch.no_grad():
        logits = [model(batch) for batch in batches]
    rounds = 125

    def explains(i: int) -> bool:
        found = [explain(model, batches[i], METHODS_HERE, layer).maps for _ in range(rounds)]
        return all(torch.equal(maps[name], expected[i][name]) for maps in found for name in METHODS_HERE)

    def predicts(i: int) -> bool:
        good = True
        for k in range(rounds):
            with torch.set_grad_enabled(k % 2 == 0):
                found = model(batches[i])
                good &= torch.equal(found, logits[i]) and found.requires_grad == (k % 2 == 0)
                good &= torch.is_grad_enabled() == (k % 2 == 0)
        return good and torch._C._len_torch_dispatch_stack() == 0

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(work, i) for i in range(4) for work in (explains, predicts)]
        assert all(result.result() for result in results)


def test_explaining_while_training_leaves_statistics_modes_and_random_numbers_alone(net, images):
    net.train()
    before = copy.deepcopy(net.state_dict())
    errors: list[BaseException] = []
    drawn: list[float] = []
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            drawn.extend(torch.rand(64).tolist())

    def run() -> None:
        try:
            for _ in range(20):
                explain(net, images, METHODS_HERE, "block")
        except BaseException as error:
            errors.append(error)

    torch.manual_seed(0)
    drawing = threading.Thread(target=draw)
    explaining = [threading.Thread(target=run) for _ in range(2)]
    for thread in (drawing, *explaining):
        thread.start()
    for thread in explaining:
        thread.join()
    stop.set()
    drawing.join()
    assert errors == []
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    torch.manual_seed(0)
    assert drawn == torch.rand(len(drawn)).tolist(), "numbers were drawn twice, or elsewhere"


SPREAD = 150
"""Lines at which an interrupt is tried, evenly over all that run."""


class Interrupt(KeyboardInterrupt):
    pass


class InterruptAt:
    """Raises at the n-th line that runs in xaimed, or in what of torch it changes the thread's state with."""

    FILES = (
        "xaimed_core",
        "contextlib",
        "grad_mode",
        "autocast_mode",
        "_python_dispatch",
        "nn/modules/module.py",
    )

    def __init__(self, at: int) -> None:
        self.at, self.count, self.where = at, 0, ""

    def __call__(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if not any(part in frame.f_code.co_filename for part in self.FILES):
            return None
        if event == "line":
            self.count += 1
            if self.count == self.at:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)
                raise Interrupt
        return self


def state_of(model: nn.Module) -> tuple[Any, ...]:
    modules = [
        (m.training, sorted(m.__dict__), len(m._forward_hooks), len(m._forward_pre_hooks))
        for m in model.modules()
    ]
    thread = (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
        (torch.autocast_increment_nesting(), torch.autocast_decrement_nesting())[1],
    )
    return modules, thread


def lines_of(call: Callable[[], Any]) -> int:
    counting = InterruptAt(-1)
    sys.settrace(counting)
    try:
        call()
    finally:
        sys.settrace(None)
    return counting.count


@pytest.mark.parametrize("held", HOLDERS)
@pytest.mark.parametrize("method", ["xgradcam", "ablationcam"])
def test_an_interrupt_at_any_line_leaves_nothing_behind(net, images, held, method):
    net.stem[1].train()
    model, layer = HOLDERS[held](net)
    explain(model, images, method, layer)
    before = state_of(model)
    lines = lines_of(lambda: explain(model, images, method, layer))
    assert lines > 300
    left: list[str] = []
    for at in range(1, lines, max(1, lines // SPREAD)):
        interrupt = InterruptAt(at)
        sys.settrace(interrupt)
        try:
            explain(model, images, method, layer)
        except Interrupt:
            pass
        finally:
            sys.settrace(None)
        if state_of(model) != before:
            changed = [(a, b) for a, b in zip(before, state_of(model), strict=True) if a != b]
            left.append(f"{interrupt.where}: {changed}")
            model, layer = HOLDERS[held](net)
            break
    assert not left, left[0]
    model(images)


def test_what_runs_is_a_copy_that_shares_every_tensor(net):
    subject = subject_of(net, None)
    assert subject.route == ""
    ours, theirs = dict(subject.root.named_modules()), dict(net.named_modules())
    assert ours.keys() == theirs.keys()
    assert all(ours[name] is not theirs[name] for name in theirs)
    assert all(a is b for a, b in zip(subject.root.parameters(), net.parameters(), strict=True))


def test_a_model_that_no_copy_can_stand_for_is_run_itself_and_the_route_says_why(net, images):
    model = ByClosure(net).eval()
    found, expected = (
        explain(model, images, METHODS_HERE, "net.block"),
        explain(net, images, METHODS_HERE, "block"),
    )
    for name in METHODS_HERE:
        assert torch.equal(found.maps[name], expected.maps[name])
        assert "run on the model itself: a function or an object of the model holds" in str(found.route[name])
