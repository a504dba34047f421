"""At batch 1 a GPU waits for the host: `explain` may ask for little beside the network's own work."""

import os
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from xaimed_core import explain

pytestmark = [
    pytest.mark.interpret,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="set TRITON_INTERPRET=1"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

NO_WORK = {"aten::detach", "aten::empty", "aten::_unsafe_view", "aten::lift_fresh", "aten::equal"}
"""They neither compute nor copy, as views do not, or compare states of random generators, which are on the host."""


class Operations(TorchDispatchMode):
    """The torch operations that run inside, but for those of a launch, which are the interpreter's own."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.launches = 0
        self._launching = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if not (self._launching or func.is_view or name in NO_WORK):
            self.names.append(name)
        return func(*args, **(kwargs or {}))

    def launching(self, launch: Any) -> Any:
        def counted(*arguments: Any, **constants: Any) -> None:
            self.launches += 1
            self._launching = True
            launch(*arguments, **constants)
            self._launching = False

        return counted


def test_beside_the_network_explain_takes_12_operations_at_most(net, images, monkeypatch) -> None:
    pytest.importorskip("triton")
    from xaimed_kernels import backends
    from xaimed_kernels.gradient_maps import launch as gradient_launch
    from xaimed_kernels.rescale_maps import launch as rescale_launch

    monkeypatch.setattr(backends, "_backend_of_device", lambda device: "triton")
    found, plain = Operations(), Operations()
    for module in (gradient_launch, rescale_launch):
        monkeypatch.setattr(module, "launch", found.launching(module.launch))
    net.head.weight.data.abs_()  # no map is empty, which would be looked into
    one = images[:1]
    explain(net, one, "layercam", "late")  # the first look at a network takes more
    found.launches = 0
    with found:
        explain(net, one, "layercam", "late")
    kept: list[torch.Tensor] = []
    net.late.register_forward_hook(
        lambda *hooked: kept.append(hooked[-1].detach().requires_grad_()) or kept[0]
    )
    with plain:
        logits = net(one)
        torch.autograd.grad(logits, kept[0], logits.detach())  # any gradient: the network's own way back
    assert found.launches == 3
    beside = len(found.names) - len(plain.names) + found.launches
    assert 5 < beside <= 12, f"{found.names} {plain.names}"
