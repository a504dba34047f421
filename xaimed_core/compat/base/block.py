"""What grad-cam's scripts open in a ``with`` block."""

from types import TracebackType
from typing import Self


class Block:
    """Nothing is held between calls; the block is for scripts that have one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let every exception through. grad-cam's classes swallow IndexError here."""
