"""What a rule sees and what it says, and the change of whatever keeps channels apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from xaimed_core.tail.carry.linear import Operands, linear_form
from xaimed_core.tail.carry.values import Block, exact
from xaimed_core.tail.record.calls import Call, Value, nested


@final
@dataclass(frozen=True)
class Site:
    """A call whose values that depend on the layer are all PerChannel.

    call: with its integers for so many ``images``; shape: of any value, for as many. blocks: of the PerChannel values.
    """

    call: Call
    images: int
    blocks: dict[int, Block]
    shape: Callable[[int], tuple[int, ...]]

    def block(self, leaf: Any) -> Block | None:
        """The block of an argument, None if it does not depend on the layer."""
        return self.blocks.get(leaf.index) if isinstance(leaf, Value) else None


@final
@dataclass(frozen=True)
class Regions:
    """What a rule computes with: the change of a PerChannel value, the base of any value, both for all images.

    ``call``: the call with its integers for this number of images.
    """

    call: Call
    change: Callable[[int], Tensor]
    base: Callable[[int], Tensor]


@final
@dataclass(frozen=True)
class Carried:
    """Where the blocks lie in each result (None: the result is not PerChannel and must not be read), and the changes.

    reads: values whose base the changes are computed from, besides external ones.
    """

    blocks: tuple[Block | None, ...]
    changes: Callable[[Regions], tuple[Tensor | None, ...]]
    reads: frozenset[int] = frozenset()


Rule = Callable[[Site], Carried | None]


def carried(site: Site, moved: tuple[Block | None, ...], narrow: Callable[[int, Tensor], Tensor]) -> Carried:
    """f(base + change) - f(base) on the region that the channels own, or f(change) where f is linear.

    ``narrow`` cuts a value that did not change down to that region.
    """
    call, blocks = site.call, site.blocks
    form = linear_form(call, blocks)

    def changes(regions: Regions) -> tuple[Tensor | None, ...]:
        def other(value: int) -> Tensor:
            return narrow(value, regions.base(value))

        if form is not None:
            return results(form(regions.call, Operands(blocks, regions.change, other)))

        def region(value: int) -> Tensor:
            return exact(blocks[value].region(regions.base(value)))

        after = Operands(blocks, lambda value: region(value) + regions.change(value), other)
        before = Operands(blocks, region, other)
        both = (results(_apply(regions.call, operands)) for operands in (after, before))
        return tuple(a - b if m else None for a, b, m in zip(*both, moved, strict=True))

    return Carried(moved, changes, frozenset(blocks) if form is None else frozenset())


def _apply(call: Call, operands: Operands) -> Any:
    return call.op(*nested(call.args, operands), **{k: nested(v, operands) for k, v in call.kwargs.items()})


def results(output: Any) -> tuple[Tensor, ...]:
    """What a call returned, as a tuple."""
    return tuple(output) if isinstance(output, tuple | list) else (output,)


def only(site: Site) -> Block | None:
    """The block of the first argument where nothing else depends on the layer."""
    block = site.block(site.call.args[0])
    return block if block is not None and len(site.blocks) == 1 else None


def whole(_value: int, tensor: Tensor) -> Tensor:
    """What did not change is read whole."""
    return tensor
