"""Running the tail again for rows of ablated activations, by re-executing the model's own Python."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from xaimed_core.isolation.subject import Subject
from xaimed_core.tail.rerun.capture import Capture


@final
@dataclass(frozen=True)
class ModuleRerun:
    """The tail alone: modules that were done before the layer return their recorded outputs for the rows' images, the
    layer returns the ablated rows, and everything else runs.

    calls: recorded outputs, in the order of the calls that the model's own code makes. None: the whole network runs,
        and only the layer's output is replaced, which is what a drop is by definition.
    bytes_per_row: memory that one more row takes.
    """

    capture: Capture
    calls: tuple[tuple[nn.Module, Any], ...] | None
    bytes_per_row: int

    def outputs(self, image: Tensor, rows: Tensor) -> Tensor:
        """Logits ``[r, ...]`` for activations ``rows [r, ...]`` that belong to images ``image [r]`` (int64).

        Recorded outputs take no memory where the rows are of one image and nothing writes them.
        """
        if self.calls is None:
            with self.capture.returning(rows):
                return self.capture.run(self.capture.images[image])
        if bool((image == image[0]).all()):
            try:
                return self._run(image, rows, copies=False)
            except RuntimeError as error:
                if "single memory location" not in str(error):
                    raise  # else: an operation writes into what is shared between rows, so each needs its own
        return self._run(image, rows, copies=True)

    def _run(self, image: Tensor, rows: Tensor, *, copies: bool) -> Tensor:
        n = len(self.capture.images)
        take = _copies_of(image) if copies else _views_of(int(image[0]), len(image))
        queues: dict[nn.Module, deque[Any]] = {}
        for module, output in self.calls or ():
            queues.setdefault(module, deque()).append(output)

        def answer(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
            queue = queues[module]

            def recorded_or_run(*args: Any, **kwargs: Any) -> Any:
                if not queue:
                    return forward(*args, **kwargs)
                return tree_map(lambda leaf: _rows_of(leaf, n, take), queue.popleft())

            return recorded_or_run

        with ExitStack() as stack:
            subject, layer = self.capture.subject, self.capture.layer
            for module in queues:
                stack.enter_context(subject.forward_as(module, answer(module, subject.forward_of(module))))
            stack.enter_context(subject.forward_as(layer, lambda *_args, **_kwargs: rows))
            stack.enter_context(self.capture.returning(rows))
            return self.capture.run(take(self.capture.images))


@final
@dataclass
class CallRecorder:
    """Keeps what modules return until the layer is reached; a call inside a finished call is forgotten."""

    subject: Subject
    model: nn.Module
    layer: nn.Module
    calls: list[tuple[nn.Module, Any]] = field(default_factory=list[tuple[nn.Module, Any]])
    tail_bytes: int = 0
    all_bytes: int = 0
    reached: bool = False

    @contextmanager
    def recording(self) -> Generator[None]:
        """Entered around the forward."""
        with ExitStack() as stack:
            for module in self.model.modules():
                if not isinstance(module, torch.jit.ScriptModule):
                    keeping = self._keeping(module, self.subject.forward_of(module))
                    stack.enter_context(self.subject.forward_as(module, keeping))
            yield

    def reach(self) -> None:
        """The layer was reached: from here on the model runs as it is."""
        self.reached = True
        if self.calls and self.calls[-1][0] is self.layer:
            self.calls.pop()

    def _keeping(self, module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        leaf = next(module.children(), None) is None

        def keep(*args: Any, **kwargs: Any) -> Any:
            before, begun = self.reached, len(self.calls)
            output = forward(*args, **kwargs)
            size = _bytes(output) if leaf else 0
            self.all_bytes += size
            if self.reached:
                self.tail_bytes += size if before else 0
                return output
            del self.calls[begun:]
            self.calls.append((module, tree_map(_copied, output)))
            return output

        return keep


def record_calls(capture: Capture) -> CallRecorder:
    """Modules' outputs up to the layer; ``capture`` hooks everything."""
    recorder = CallRecorder(capture.subject, capture.model, capture.layer)

    def reach(rows: Tensor) -> Tensor:
        recorder.reach()
        return rows.clone()

    with capture.running(), recorder.recording(), capture.returning(capture.activation, reach):
        capture.run(capture.images)
    return recorder


def _copied(leaf: Any) -> Any:
    """A copy, for the model may write into what a module returned before the layer is reached or after."""
    return leaf.detach().clone() if isinstance(leaf, Tensor) else leaf


def _bytes(output: Any) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


def _copies_of(image: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[image]


def _views_of(image: int, rows: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[image : image + 1].expand(rows, *tensor.shape[1:])


def _rows_of(leaf: Any, n: int, take: Callable[[Tensor], Tensor]) -> Any:
    """Rows of a recorded output: along its first axis where that is the batch, or the batch times something."""
    if not isinstance(leaf, Tensor) or leaf.ndim == 0 or leaf.shape[0] == 0 or leaf.shape[0] % n:
        return leaf
    if leaf.shape[0] == n:
        return take(leaf)
    return take(leaf.unflatten(0, (n, -1))).flatten(0, 1)
