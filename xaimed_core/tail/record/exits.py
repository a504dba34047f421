"""Values that leave torch: what NumPy, or any other code, makes of them is in no list of operations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, final

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xaimed_core.tail.record.tape import TapeRecorder

EXITS = frozenset((Tensor.numpy, Tensor.tolist, Tensor.__array__, Tensor.__dlpack__, Tensor.data_ptr))
"""Ways out that torch does not dispatch."""
FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
"""torch's own attention runs other operations while such a mode is entered: it runs unwatched, as it is."""


@final
class ExitWatch(TorchFunctionMode):
    """Tells a recorder, while entered, which tensors take a way out."""

    def __init__(self, recorder: TapeRecorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one function."""
        if func in EXITS:
            self._recorder.leaves_torch(args[0], func.__name__)
        return func(*args, **(kwargs or {}))


@final
class Recording:
    """Entered from the layer on: the recorder sees operations, and is told of what leaves them.

    No generator: one that an interrupt leaves half run would be ended later, and pop a mode that is not its own.
    """

    def __init__(self, recorder: TapeRecorder) -> None:
        fused = any(isinstance(module, FUSED) for module in recorder.model.modules())
        self._modes = (recorder,) if fused else (ExitWatch(recorder), recorder)
        self._stack = ExitStack()

    def __enter__(self) -> None:
        for mode in self._modes:
            self._stack.enter_context(mode)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
