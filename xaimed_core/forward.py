"""One forward pass that keeps a layer's output and, if asked, the score's gradient there; nothing else changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, final

import torch
from torch import Tensor, nn

from xaimed_core.targets import Targets, TargetsLike, contrast, logits_of, resolve_targets


class Observer(Protocol):
    """What may look on while the tail runs, to learn how to run it again (see `xaimed_core.tail`)."""

    def watching(self) -> AbstractContextManager[None]:
        """Entered around the whole forward."""
        ...

    def at_layer(self, activation: Tensor) -> AbstractContextManager[object]:
        """Entered with the tensor that the tail consumes, before it runs; left when the forward is over."""
        ...


@final
@dataclass(frozen=True)
class Observation:
    """What one forward showed. Tensors are detached and stay on the model's device.

    ``activations`` and ``gradients``: per layer, in the layer's own shape; ``logits [n, ...]``; ``scores [n]``.
    ``pooled``: nothing but the mean over positions of the (single) layer's output is used, so that the gradient is
    the same at all positions.
    """

    activations: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    logits: Tensor
    targets: Targets
    scores: Tensor
    pooled: bool


def observe(
    model: nn.Module,
    images: Tensor,
    layers: Mapping[str, nn.Module],
    targets: TargetsLike = None,
    *,
    against: TargetsLike = None,
    gradients: bool = True,
    observers: Mapping[str, Observer] | None = None,
) -> Observation:
    """Run ``model(images)`` once and return what the layers gave; ``observers`` look on, each from its layer on.

    The part before the first layer runs without autograd; only what follows it is differentiated, and only
    with respect to the layers' outputs. The layer's output is what the layer returned, before any later
    in-place operation. Raises ValueError if a layer is never reached, or reached more than once.
    """
    with undisturbed(model, images.device):
        images = images.clone() if images.is_inference() else images
        run = _Run(layers, gradients, observers or {}, copy=False)
        output = run.forward(model, images)
        if run.overwritten():  # the layer returned memory that was written again: keep a copy of it instead
            run = _Run(layers, gradients, observers or {}, copy=True)
            output = run.forward(model, images)
        logits = logits_of(output)
        if logits.ndim == 0 or len(logits) != len(images):
            raise ValueError(
                f"the model gave {tuple(logits.shape)} for {len(images)} images; its first axis must be the batch"
            )
        resolved = resolve_targets(targets, logits)
        if against is not None:
            resolved = contrast(resolved, against, logits)
        rows = torch.arange(len(images), device=logits.device)
        kept = tuple(run.kept[name] for name in layers)
        with torch.set_grad_enabled(gradients):
            scores = resolved.score(logits, rows)
        found = _differentiate(scores, kept, tuple(layers)) if gradients else ()
        pooled = gradients and len(kept) == 1 and _only_pooled(scores, kept[0])
    return Observation(
        tuple(k.detach() for k in kept), found, logits.detach(), resolved, scores.detach(), pooled
    )


def unwrap(model: nn.Module) -> tuple[nn.Module, str]:
    """The module inside DataParallel and `torch.compile` wrappers, and words that say what was taken off.

    A hook added after compilation never fires and a replica per device would split the batch, so that the
    original module is run.
    """
    taken: list[str] = []
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
            taken.append("DataParallel unwrapped")
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
            taken.append("compiled model run eagerly")
        else:
            return model, "; ".join(taken)


@final
@dataclass
class _Run:
    """The hooks of one forward and what they kept."""

    layers: Mapping[str, nn.Module]
    gradients: bool
    observers: Mapping[str, Observer]
    copy: bool
    kept: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    versions: dict[str, int] = field(default_factory=dict[str, int])

    def forward(self, model: nn.Module, images: Tensor) -> Any:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())  # the hook turns autograd on; leaving the stack restores it
            for observer in self.observers.values():
                stack.enter_context(observer.watching())
            for name, layer in self.layers.items():
                stack.callback(layer.register_forward_hook(self._hook(name, stack)).remove)
            output = model(images)
        missed = [name for name in self.layers if name not in self.kept]
        if missed:
            raise ValueError(
                f"the forward pass never reached layer {', '.join(missed)}; choose one that it calls"
            )
        return output

    def _hook(self, name: str, stack: ExitStack) -> Callable[[nn.Module, Any, Any], Tensor]:
        def keep(module: nn.Module, inputs: Any, output: Any) -> Tensor:
            del module, inputs
            if name in self.kept:
                raise ValueError(
                    f"layer {name} is called more than once in one forward, so that its output is not one tensor; "
                    "choose the module around it"
                )
            if not isinstance(output, Tensor) or not output.is_floating_point():
                kind = output.dtype if isinstance(output, Tensor) else type(output).__name__
                raise ValueError(
                    f"layer {name} returned {kind}, not a tensor of real numbers; choose another layer"
                )
            kept = output if output.requires_grad else output.detach()
            if self.copy:
                kept = kept.clone()
            if self.gradients:
                torch.set_grad_enabled(True)
                kept.requires_grad_()
            self.kept[name], self.versions[name] = kept, kept._version
            passed = kept.clone()  # the tail may write into it
            if name in self.observers:
                stack.enter_context(self.observers[name].at_layer(passed))
            return passed

        return keep

    def overwritten(self) -> bool:
        return any(kept._version != self.versions[name] for name, kept in self.kept.items())


def _differentiate(scores: Tensor, kept: Sequence[Tensor], names: Sequence[str]) -> tuple[Tensor, ...]:
    if not scores.requires_grad:
        raise ValueError(
            f"the score does not depend on layer {', '.join(names)} in a way autograd can follow"
        )
    found = cast(tuple[Tensor | None, ...], torch.autograd.grad(scores.sum(), kept, allow_unused=True))
    gradients = tuple(gradient for gradient in found if gradient is not None)
    if len(gradients) < len(names):
        unused = [name for name, gradient in zip(names, found, strict=True) if gradient is None]
        raise ValueError(f"the score does not depend on layer {', '.join(unused)}; choose a layer on its way")
    return gradients


def _only_pooled(scores: Tensor, kept: Tensor) -> bool:
    """Whether every path from the score to the layer's output enters it through a mean over all positions."""
    positions = set(range(2, kept.ndim))
    entered = False
    stack, seen = [scores.grad_fn], set[Any]()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for source, _ in node.next_functions:
            through = _past_clone(source)
            if getattr(through, "variable", None) is kept:
                dims = getattr(node, "_saved_dim", None) if type(node).__name__ == "MeanBackward1" else None
                if dims is None or {_signed(d) % kept.ndim for d in dims} != positions:
                    return False
                entered = True
            elif source is not None:
                stack.append(source)
    return entered


def _past_clone(node: Any) -> Any:
    return node.next_functions[0][0] if type(node).__name__ == "CloneBackward0" else node


def _signed(dim: int) -> int:
    """Autograd saves a negative dimension as an unsigned 64-bit number."""
    return dim - 2**64 if dim >= 2**63 else dim


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Generator[None]:
    """Evaluation mode, out of inference mode and of compilation; mode and random numbers are as before afterwards."""
    training = [module for module in model.modules() if module.training]
    devices = [device] if device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.random.fork_rng(devices))
        if "torch._dynamo" in sys.modules:  # only then can anything inside the model be compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            for module in training:
                module.training = False
            yield
        finally:
            for module in training:
                module.training = True
