"""An exception, wherever it comes from, puts the model and the thread back as they were."""

from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.core.conftest import fitting
from xaimed_core import METHODS, explain, road


@pytest.fixture(autouse=True)
def _seeded() -> Generator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# -------------------------------------------------------------------- exceptions put everything back
class Broken(Exception):
    pass


class Later:
    """Raises at the n-th call."""

    def __init__(self, calls: int, error: type[BaseException]) -> None:
        self.left, self.error = calls, error

    def __call__(self, *given: Any) -> Any:
        self.left -= 1
        if self.left <= 0:
            raise self.error
        return None


def state_of(net: nn.Module) -> dict[str, Any]:
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    return {
        "tensors": [
            (t.clone(), t.requires_grad, t._version, t.grad) for t in net.state_dict(keep_vars=True).values()
        ],
        "modes": [module.training for module in net.modules()],
        "hooks": [[list(getattr(module, table)) for table in tables] for module in net.modules()],
        "own": [sorted(vars(module)) for module in net.modules()],
        "random": torch.get_rng_state().tolist(),
        "thread": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch._C._len_torch_dispatch_stack(),
            torch._C._len_torch_function_stack(),
        ),
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


PLACES = {
    "a hook before the layer": lambda net, fail: net.stem.register_forward_hook(fail),
    "a hook of the layer": lambda net, fail: net.block.register_forward_hook(fail),
    "a hook behind the layer": lambda net, fail: net.late.register_forward_pre_hook(fail),
    "the head's forward": lambda net, fail: setattr(
        net.head, "forward", lambda x, usual=net.head.forward: fail() or usual(x)
    ),
    "a backward hook": lambda net, fail: net.late.register_full_backward_hook(fail),
}


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("calls", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["xgradcam", "ablationcam", "scorecam"])
def test_an_exception_in_the_model_puts_everything_back(net, images, method, place, calls, error):
    net.train()
    net.stem[1].eval()
    fail = Later(calls, error)
    PLACES[place](net, fail)
    before = state_of(net)
    raised = False
    try:
        explain(net, images, method, "block", targets=1)
    except error:
        raised = True
    after = state_of(net)
    assert [what for what in before if not same(before[what], after[what])] == []
    assert raised == (fail.left <= 0)


@pytest.mark.parametrize("calls", [1, 2, 7])
@pytest.mark.parametrize("argument", ["targets", "output"])
@pytest.mark.parametrize("method", METHODS)
def test_an_exception_in_what_the_caller_gave_puts_everything_back(net, images, method, argument, calls):
    fail = Later(calls, Broken)

    def failing(given: Tensor) -> Tensor:
        fail()
        return given[1] if argument == "targets" else given

    net, place = fitting(method, net, "block")
    net.train()
    expected = explain(net, images, method, targets=lambda row: row[1], **place)
    before = state_of(net)
    raised = False
    try:
        explain(net, images, method, **{**place, "targets": lambda row: row[1], argument: failing})
    except Broken:
        raised = True
    after = state_of(net)
    assert [what for what in before if not same(before[what], after[what])] == []
    assert raised == (fail.left <= 0)
    again = explain(net, images, method, targets=lambda row: row[1], **place)
    assert torch.equal(again.maps[method], expected.maps[method])


@pytest.mark.parametrize("calls", [1, 2, 4])
@pytest.mark.parametrize("argument", ["targets", "score", "output", "model"])
def test_an_exception_in_a_score_puts_everything_back(net, images, argument, calls):
    maps = explain(net, images, "xgradcam", "block").maps["xgradcam"]
    net.train()
    fail = Later(calls, Broken)

    def failing(given: Tensor) -> Tensor:
        fail()
        return given[1] if argument == "targets" else given

    if argument == "model":
        net.late.register_forward_hook(lambda *_: fail())
    before = state_of(net)
    with pytest.raises(Broken):
        road(net, images, maps, **({} if argument == "model" else {argument: failing}))
    after = state_of(net)
    assert [what for what in before if not same(before[what], after[what])] == []
