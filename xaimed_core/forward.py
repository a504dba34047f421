"""One forward pass that keeps a layer's output and, if asked, the score's gradient there; nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast, final

import torch
from torch import Tensor, nn

from xaimed_core.autograd_graph import nodes_behind, only_pooled
from xaimed_core.classes import class_names_of
from xaimed_core.isolation.subject import Subject, subject_of, undisturbed
from xaimed_core.isolation.thread_state import self_contained
from xaimed_core.outputs import OutputChoice, call, plain, rows_of
from xaimed_core.targets import Targets, TargetsLike, split_targets

Slope = Literal["score", "finer", "shapley"]
"""What a reduction reads at the layer: the score's gradient g, that of FinerCAM's score, ShapleyCAM's g - H A / 2."""


class Observer(Protocol):
    """What may look on while the tail runs, to learn how to run it again (see `xaimed_core.tail`)."""

    @property
    def hooks_everything(self) -> bool:
        """Whether it looks at every module, not only at the layer."""
        ...

    @property
    def keeps_graph(self) -> bool:
        """Whether it differentiates what the forward returned after `observe` did."""
        ...

    def watching(self, subject: Subject) -> AbstractContextManager[None]:
        """Entered around the whole forward of ``subject``."""
        ...

    def at_layer(self, activation: Tensor) -> AbstractContextManager[object]:
        """Entered with the tensor that the tail consumes, before it runs; left when the forward is over."""
        ...

    def returned(self, logits: Tensor) -> None:
        """Given what targets read in the model's output, once the forward is over."""
        ...


@final
@dataclass(frozen=True)
class Observation:
    """What one forward showed. Tensors are detached and stay on the model's device.

    ``activations``: per layer, in the layer's own shape; ``gradients``: likewise, for each of ``targets`` in turn;
    ``besides``: likewise by `Slope`. Each is empty where nobody asked for it.
    ``scores [n]``: what was differentiated, for each of ``targets`` in turn (their own score, if that was).
    ``logits [n, ...]``; None, with no targets, where nobody asked for a score and the model returns none.
    ``pooled``: nothing but the mean over positions of the (single) layer's output is used, so that the gradient is
    the same at all positions. ``route``: what has to be said of how the model was run.
    """

    activations: tuple[Tensor, ...]
    gradients: tuple[tuple[Tensor, ...], ...]
    scores: tuple[Tensor, ...]
    logits: Tensor | None
    targets: tuple[Targets, ...]
    pooled: bool
    route: tuple[str, ...]
    besides: Mapping[str, Sequence[tuple[Tensor, ...]]] = field(default_factory=dict[str, Any])

    def gradients_of(self, j: int, slope: Slope) -> tuple[Tensor, ...]:
        """Per layer what a method of this slope reads for the j-th targets."""
        return (self.gradients if slope == "score" else self.besides[slope])[j]


@self_contained
def observe(
    model: nn.Module,
    images: Tensor,
    layers: Mapping[str, nn.Module],
    targets: TargetsLike | Targets = None,
    *,
    against: TargetsLike = None,
    gradients: bool = True,
    besides: Collection[Slope] = (),
    scored: bool = True,
    observers: Mapping[str, Observer] | None = None,
    output: OutputChoice = None,
    classes: Sequence[str] | None = None,
    share_eps: float = 0.0,
) -> Observation:
    """Run ``model(images)`` once and return what the layers gave; ``observers`` look on, each from its layer on.

    Only what follows the first layer is differentiated, and only with respect to the layers' outputs: what each
    returned, before any later in-place operation. ``scored=False``: the model need not return scores. ``besides``:
    slopes beside the score's gradient; ``share_eps``: FinerCAM's. Raises ValueError if a layer is not reached once.
    """
    watched = observers or {}
    every = any(observer.hooks_everything for observer in watched.values())
    kept_graph = any(observer.keeps_graph for observer in watched.values())
    subject = subject_of(model, None if every else layers.values())
    with undisturbed(subject, images.device):
        images = images.clone() if images.is_inference() else images
        differentiated, curved = gradients or bool(besides), "shapley" in besides
        run = _Run(subject, layers, differentiated, watched, copy=False, curved=curved)
        returned = run.forward(images)
        if run.overwritten():  # the layer returned memory that was written again: keep a copy of it instead
            run = _Run(subject, layers, differentiated, watched, copy=True, curved=curved)
            returned = run.forward(images)
        kept = tuple(run.kept[name] for name in layers)
        activations = tuple(k.detach() for k in kept)
        if not scored and not _has_scores(returned, len(images), output):
            return Observation(activations, (), (), None, (), False, _said(subject))
        logits, choice = rows_of(returned, len(images), output)
        for observer in watched.values():
            observer.returned(logits)
        classes = class_names_of(model) if classes is None else classes
        resolved = split_targets(targets, logits, classes)
        if against is not None:
            from xaimed_core.contrast import contrast

            resolved = tuple(contrast(one, against, logits, classes, share_eps) for one in resolved)
        found = _Found(kept, tuple(layers), share_eps, pooled=gradients and len(kept) == 1)
        with torch.enable_grad():
            for j, one in enumerate(resolved if differentiated or kept_graph else ()):
                last = j + 1 == len(resolved) and not kept_graph
                found.differentiate(one, logits, gradients, besides, last=last)
    return Observation(
        activations,
        tuple(found.gradients),
        tuple(found.scores),
        logits.detach(),
        resolved,
        found.pooled,
        _said(subject, choice),
        found.besides,
    )


@final
@dataclass
class _Found:
    """Gradients at the layers' outputs ``kept``, targets by targets."""

    kept: Sequence[Tensor]
    names: tuple[str, ...]
    share_eps: float
    pooled: bool
    gradients: list[tuple[Tensor, ...]] = field(default_factory=list[tuple[Tensor, ...]])
    scores: list[Tensor] = field(default_factory=list[Tensor])
    besides: dict[str, list[tuple[Tensor, ...]]] = field(default_factory=dict[str, list[tuple[Tensor, ...]]])

    def differentiate(
        self, targets: Targets, logits: Tensor, gradients: bool, besides: Collection[Slope], *, last: bool
    ) -> None:
        scores = targets.score(logits)
        self.scores.append(scores.detach())
        self.pooled = self.pooled and only_pooled(scores, self.kept[0])
        curved, finer = "shapley" in besides, "finer" in besides
        if gradients or curved:
            again = curved or finer or not last
            slopes = _differentiate(scores, self.kept, self.names, again=again, curved=curved)
            self.gradients.append(tuple(slope.detach() for slope in slopes))
            if curved:
                from xaimed_core.second_order import bent

                found = bent(slopes, self.kept, again=finer or not last)
                self.besides.setdefault("shapley", []).append(found)
        if finer:
            from xaimed_core.contrast import finer_scores

            scores = finer_scores(targets, logits, self.share_eps)
            found = _differentiate(scores, self.kept, self.names, again=not last)
            self.besides.setdefault("finer", []).append(found)


def _said(subject: Subject, choice: str = "") -> tuple[str, ...]:
    return tuple(filter(None, (subject.route, choice)))


def _has_scores(returned: Any, n: int, output: OutputChoice) -> bool:
    try:
        return rows_of(returned, n, output)[0].ndim == 2
    except (TypeError, ValueError):
        return False


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

    subject: Subject
    layers: Mapping[str, nn.Module]
    gradients: bool
    observers: Mapping[str, Observer]
    copy: bool
    curved: bool = False
    kept: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    versions: dict[str, int] = field(default_factory=dict[str, int])

    def forward(self, images: Tensor) -> Any:
        with ExitStack() as stack:
            if self.curved:  # fused attention has no second derivative
                stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
            stack.enter_context(torch.no_grad())  # the hook turns autograd on; leaving the stack restores it
            for observer in self.observers.values():
                stack.enter_context(observer.watching(self.subject))
            for name, layer in self.layers.items():
                stack.enter_context(self.subject.on_output(layer, self._hook(name, stack)))
            output = call(self.subject.root, images)
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
            output = plain(output)
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


def _differentiate(
    scores: Tensor, kept: Sequence[Tensor], names: Sequence[str], *, again: bool, curved: bool = False
) -> tuple[Tensor, ...]:
    if not scores.requires_grad:
        raise ValueError(
            f"the score does not depend on layer {', '.join(names)} in a way autograd can follow: code without "
            "gradients lies between (no_grad, detach, a checkpoint with use_reentrant=True); ask for eigencam, "
            "scorecam or ablationcam, or choose a layer behind it"
        )
    if any("NotImplemented" in node.name() for node in nodes_behind(scores.grad_fn)):
        raise ValueError(
            f"the score is made by an operation that has no gradient, so that there is none at {', '.join(names)} (a "
            "quantised layer has none); ask for eigencam, scorecam or ablationcam, or explain the float network"
        )
    options = {"allow_unused": True, "retain_graph": again, "create_graph": curved}
    try:
        found = cast(
            tuple[Tensor | None, ...], torch.autograd.grad(scores, kept, torch.ones_like(scores), **options)
        )
    except RuntimeError as error:  # what the model does behind the layer, as a checkpoint or a write in place
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(
            f"autograd cannot follow the score back to layer {', '.join(names)}: {str(error).strip()} "
            "Mend the model, or ask for eigencam, scorecam or ablationcam, which need no gradient"
        ) from error
    gradients = tuple(gradient for gradient in found if gradient is not None)
    if len(gradients) < len(names):
        unused = [name for name, gradient in zip(names, found, strict=True) if gradient is None]
        raise ValueError(f"the score does not depend on layer {', '.join(unused)}; choose a layer on its way")
    return gradients
