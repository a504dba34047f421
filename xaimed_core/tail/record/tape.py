"""The tail as a list of aten operations, recorded while it runs.

Every tensor of the tail is a `Value`. In-place operations are recorded in their functional form: what they wrote
is a new value, and the memory they wrote into holds it from then on. Only what depends on the layer's output is
recorded; everything else that such operations read is external, kept as it was when it was read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch.multiprocessing.reductions import StorageWeakRef

from xaimed_core.tail.record.aten import address, name_of, writes
from xaimed_core.tail.record.calls import ACTIVATION, Call, Tape, Value, leaves, nested
from xaimed_core.tail.record.guards import (
    EagerMode,
    Unsupported,
    draws_random_numbers,
    functional,
    refuse_other_kinds,
    refuse_unfit,
)
from xaimed_core.tail.record.instance_norm import Values, images_apart

IDENTITIES = frozenset(("alias", "clone", "contiguous", "detach", "lift_fresh"))
"""What only moves a value: two recordings at different batch sizes agree once these are gone."""

RESHAPES = frozenset(("view", "_unsafe_view", "_reshape_alias"))
"""All are reshape: how memory lies is another matter for rows than for images."""


@final
@dataclass
class _Memory:
    """One storage: which value each way of looking at it holds. The weak reference keeps its address from reuse."""

    reference: StorageWeakRef
    held: dict[Any, int] = field(default_factory=dict[Any, int])
    dependent: bool = False
    written: bool = False


@final
class TapeRecorder(EagerMode):
    """Records the tail while entered; entered in the layer's hook, with the tensor the tail will consume.

    Nothing here raises in the model's forward: what cannot be recorded ends the recording.
    ``refused``: why it stopped recording. ``fault``: what makes an ablation's score undefined, however computed.
    """

    def __init__(self, model: nn.Module, activation: Tensor) -> None:
        super().__init__()
        self.refused: Unsupported | None = None
        self.fault: str | None = None
        self.model = model
        self._calls: list[Call] = []
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._dtypes: dict[int, torch.dtype] = {}
        self._external: dict[int, Tensor] = {}
        self._memories: dict[int, _Memory] = {}
        self._of_layer: _Memory | None = None
        try:
            self._holds(activation, self._new_value(activation), dependent=True)
            self._of_layer = self._memory(activation)
        except Unsupported as unsupported:
            self._stop(unsupported)

    def __torch_dispatch__(
        self,
        func: OpOverload | HigherOrderOperator,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation and record it if it depends on the layer."""
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):
            self.given_functions = func  # no more than that: the compiler may be tracing this very line
            return func(*args, **kwargs)
        if self.fault is None and draws_random_numbers(func, args, kwargs):
            self.fault = f"{name_of(func)} draws random numbers"
        if self.refused is not None or self.given_functions is not None:
            return func(*args, **kwargs)
        try:
            call = self._before(func, args, kwargs)
        except Unsupported as unsupported:
            self._stop(unsupported)
            return func(*args, **kwargs)
        output = func(*args, **kwargs)
        if call is not None:
            try:
                self._after(call, args, output)
            except Unsupported as unsupported:
                self._stop(unsupported)
        return output

    def leaves_torch(self, tensor: Tensor, way: str) -> None:
        """Told of a tensor that goes where no operation is dispatched; rows then run alone, as where Python reads."""
        if self.refused is None and self.given_functions is None and self._is_dependent(tensor):
            self._stop(Unsupported(f"ablated values leave torch ({way})", one_row=True))

    def tape(self, logits: Tensor) -> Tape:
        """What was recorded, sliced to what ``logits`` needs. Raises `Unsupported`."""
        if self.refused is not None:
            raise self.refused
        if self.given_functions is not None:
            raise Unsupported(f"{self.given_functions} is given functions, which no list of operations holds")
        memory = self._memories.get(_address(logits))
        if memory is None or not memory.dependent:
            raise Unsupported(
                "the model's output does not come from the layer through operations that torch dispatches"
            )
        refuse_other_kinds(logits)
        result = self._value(logits, memory)
        needed, calls = {result}, list[Call]()
        values = Values(self._shapes, self._dtypes, self._external)
        for call in reversed(images_apart(self._calls, values)):
            if needed.intersection(call.results):
                calls.append(call)
                needed.update(call.reads)
        return self._in_order_of_use(calls[::-1], result)

    def _in_order_of_use(self, calls: list[Call], logits: int) -> Tape:
        """Values numbered as they appear, so that two recordings of one tail carry the same numbers."""
        numbers = {ACTIVATION.index: ACTIVATION.index}
        for call in calls:
            for value in (*call.reads, *(r for r in call.results if r is not None)):
                numbers.setdefault(value, len(numbers))

        def renumber(leaf: Any) -> Any:
            return Value(numbers[leaf.index]) if isinstance(leaf, Value) else leaf

        return Tape(
            tuple(
                Call(
                    call.op,
                    nested(call.args, renumber),
                    {key: nested(leaf, renumber) for key, leaf in call.kwargs.items()},
                    tuple(None if r is None else numbers[r] for r in call.results),
                    call.dtype,
                )
                for call in calls
            ),
            {numbers[value]: shape for value, shape in self._shapes.items() if value in numbers},
            {numbers[value]: dtype for value, dtype in self._dtypes.items() if value in numbers},
            {numbers[value]: tensor for value, tensor in self._external.items() if value in numbers},
            numbers[logits],
        )

    def _stop(self, unsupported: Unsupported) -> None:
        self.refused = unsupported
        self._calls, self._external, self._memories = [], {}, {}

    def _before(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """The call without its results, or None if nothing in it depends on the layer."""
        tensors = [leaf for leaf in leaves((args, tuple(kwargs.values()))) if isinstance(leaf, Tensor)]
        memories = [self._memories.get(_address(tensor)) for tensor in tensors]
        if not any(memory is not None and memory.dependent for memory in memories):
            if writes(func):
                self._keep_what_is_overwritten(memories)
            return None
        for tensor in tensors:
            refuse_other_kinds(tensor)
        if name_of(func) == "as_strided_" and _geometry(args[0]) == _strided_geometry(*args):
            return None
        refuse_unfit(func, args, kwargs, self._is_dependent)
        op, dtype = func, None
        if writes(func):
            op, dtype = functional(func), args[0].dtype
        elif name_of(func) in RESHAPES:
            op = torch.ops.aten.reshape.default
        values = (
            nested(args, self._argument),
            {key: nested(leaf, self._argument) for key, leaf in kwargs.items()},
        )
        if dtype is not None:
            memory = self._memories.get(_address(args[0]))
            if memory is None or not memory.dependent or memory is self._of_layer:
                self._check_state(func, args[0])
            self._keep_what_is_overwritten([memory])
        return Call(op, *values, (), dtype)

    def _after(self, call: Call, args: tuple[Any, ...], output: Any) -> None:
        if _only_moves(call, args, output):
            self._holds(output, call.args[0].index, dependent=True)
            return
        outputs = list(leaves(output))
        results = tuple(self._new_value(out) if isinstance(out, Tensor) else None for out in outputs)
        if call.dtype is not None:
            written = self._memory(args[0])
            written.held.clear()
            written.written = True
        for out, result in zip(outputs, results, strict=True):
            if result is not None:
                self._holds(out, result, dependent=True)
        self._calls.append(Call(call.op, call.args, call.kwargs, results, call.dtype))

    def _is_dependent(self, tensor: Tensor) -> bool:
        return (memory := self._memories.get(_address(tensor))) is not None and memory.dependent

    def _argument(self, leaf: Any) -> Any:
        return (
            Value(self._value(leaf, self._memories.get(_address(leaf)))) if isinstance(leaf, Tensor) else leaf
        )

    def _value(self, tensor: Tensor, memory: _Memory | None) -> int:
        if memory is not None:
            held = memory.held.get(_geometry(tensor))
            if held is not None:
                return held
            if memory.written:
                raise Unsupported(
                    "a tensor is read after its memory was written in place through another view"
                )
            if memory.dependent:
                raise Unsupported(
                    "a tensor shares memory with an ablated one in a way that torch did not dispatch"
                )
        value = self._new_value(tensor)
        self._external[value] = tensor.detach()
        self._holds(tensor, value, dependent=False)
        return value

    def _new_value(self, tensor: Tensor) -> int:
        refuse_other_kinds(tensor)
        index = len(self._shapes)
        self._shapes[index], self._dtypes[index] = tuple(tensor.shape), tensor.dtype
        return index

    def _memory(self, tensor: Tensor) -> _Memory:
        address = _address(tensor)
        if address not in self._memories:
            self._memories[address] = _Memory(StorageWeakRef(tensor.untyped_storage()))
        return self._memories[address]

    def _holds(self, tensor: Tensor, value: int, *, dependent: bool) -> None:
        memory = self._memory(tensor)
        memory.held[_geometry(tensor)] = value
        memory.dependent |= dependent

    def _keep_what_is_overwritten(self, memories: list[_Memory | None]) -> None:
        """External values in memory about to be written are copied; who reads it afterwards reads something new."""
        for memory in memories:
            if memory is not None and not memory.dependent:
                for value in memory.held.values():
                    self._external[value] = self._external[value].clone()
                memory.held.clear()

    def _check_state(self, func: OpOverload, written: Tensor) -> None:
        """What the forward leaves in the model would be there for the next: no two ablations would see one network."""
        for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
            if _address(tensor) == _address(written):
                self.fault = f"{name_of(func)} writes what depends on the layer into the model's {name}"


def _address(tensor: Tensor) -> int:
    try:
        return address(tensor)
    except (NotImplementedError, RuntimeError) as error:
        raise Unsupported(
            f"{type(tensor).__name__} of layout {tensor.layout} has no memory of its own"
        ) from error


def _geometry(tensor: Tensor) -> tuple[Any, ...]:
    """How a tensor looks at its memory; the stride of an axis of length 1 means nothing."""
    strides = tuple(s if n > 1 else 0 for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    flags = (tensor.is_conj(), tensor.is_neg())
    return tensor.storage_offset(), tuple(tensor.shape), strides, tensor.dtype, flags


def _strided_geometry(tensor: Tensor, size: Any, stride: Any, offset: int | None = None) -> tuple[Any, ...]:
    """The geometry that ``as_strided_`` gives. Channels-last pooling calls it for the strides of axes of length 1."""
    _, _, _, dtype, flags = _geometry(tensor)
    strides = tuple(s if n > 1 else 0 for n, s in zip(size, stride, strict=True))
    return tensor.storage_offset() if offset is None else offset, tuple(size), strides, dtype, flags


def _only_moves(call: Call, args: tuple[Any, ...], output: Any) -> bool:
    """Whether the output is the first argument, perhaps elsewhere."""
    if call.name in IDENTITIES:
        return True
    same = call.name == "_to_copy" and (output.dtype, output.device) == (args[0].dtype, args[0].device)
    return same and isinstance(call.args[0], Value)
