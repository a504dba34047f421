"""Which threads execute what next: of those that can go on, the ones at the smallest instruction."""

from __future__ import annotations

from typing import Literal, final

import numpy as np

from xaimed_kernels.emulator.findings import Fault
from xaimed_kernels.emulator.instructions.decode import Decoded
from xaimed_kernels.emulator.program import Instruction
from xaimed_kernels.emulator.ptx_types import Array
from xaimed_kernels.emulator.threads import Threads

Order = Literal["together", "first warp", "last warp"]
"""How the warps of a block go on: in lockstep, or one as far as the next barrier, and then another."""


@final
class Schedule:
    """The way of a batch of threads through a program. ``executed``: by how many warps, for each instruction."""

    def __init__(
        self, program: tuple[Decoded, ...], threads: Threads, executed: Array, order: Order = "together"
    ) -> None:
        self._program, self._threads, self._executed, self._order = program, threads, executed, order
        self._at = np.zeros(threads.count, np.int64)
        self._running = np.ones(threads.count, np.bool_)
        self._waiting = np.zeros(threads.count, np.bool_)

    def run(self) -> None:
        """Until all threads have left."""
        while self._running.any():
            ready = self._running & ~self._waiting
            if not ready.any():
                self._open_barriers()
                continue
            if self._order != "together":
                ready &= self._foremost_warps(ready)
            here = int(self._at[ready].min())
            active = ready & (self._at == here)
            others = self._at[ready & ~active]
            stop = int(others.min()) if len(others) else len(self._program)
            self._run_straight(here, stop, active)

    def _foremost_warps(self, ready: Array) -> Array:
        """Of each block one warp that can go on, the first or the last."""
        by_warp = ready.reshape(-1, self._threads.per_block // 32, 32)
        turn = 1 if self._order == "first warp" else -1
        able: Array = np.any(by_warp, axis=2)[:, ::turn]
        foremost: Array = (np.cumsum(able, axis=1) == 1) & able
        return np.repeat(foremost[:, ::turn].reshape(-1), 32)

    def _run_straight(self, here: int, stop: int, active: Array) -> None:
        """Up to where other threads stand, or to a decision."""
        warps = int(active.reshape(-1, 32).any(1).sum())
        everyone = None if active.all() else active
        while here < stop:
            decoded = self._program[here]
            self._executed[here] += warps
            if decoded.step is None:
                self._decide(decoded, here, active)
                return
            if decoded.guard is None:
                decoded.step(self._threads, everyone)
            else:
                chosen = decoded.chosen(self._threads, active)
                if chosen.any():
                    decoded.step(self._threads, None if chosen.all() else chosen)
            here += 1
        self._at[active] = here
        if here == len(self._program):
            self._running[active] = False

    def _decide(self, decoded: Decoded, here: int, active: Array) -> None:
        chosen = decoded.chosen(self._threads, active)
        self._at[active] = here + 1
        match decoded.instruction.opcode.partition(".")[0]:
            case "bra":
                self._at[chosen] = decoded.targets[0]
            case "brx":
                assert decoded.index is not None
                index = self._threads.full(decoded.index(self._threads))
                self._at[chosen] = np.array(decoded.targets)[index[chosen]]
            case "ret" | "exit":
                self._running[chosen] = False
            case _:  # a barrier
                self._waiting[chosen] = True

    def _open_barriers(self) -> None:
        """All that still run wait: let them pass, and note where a block is not all at one barrier."""
        shape = (-1, self._threads.per_block)
        waiting, at = self._waiting.reshape(shape), self._at.reshape(shape)
        first = np.where(waiting, at, np.iinfo(np.int64).max).min(1)
        gone = waiting.any(1) & ~waiting.all(1)
        apart = (waiting & (at != first[:, None])).any(1)
        for wrong, what in ((gone, "threads have left before it"), (apart, "threads wait at another one")):
            for block in np.flatnonzero(wrong).tolist():
                example = f"block {self._threads.blocks[block]}: {what}"
                self._threads.findings.note(Fault.DIVERGENT_BARRIER, self._before(int(first[block])), example)
        self._threads.pass_barrier(self._waiting, of_block=True)
        self._waiting[:] = False

    def _before(self, at: int) -> Instruction:
        return self._program[at - 1].instruction
