"""What ran, as a record keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Ran:
    """What ran for a method of ours: the kind of its route, and the methods that give the same map at its layer."""

    kind: str
    same_as: tuple[str, ...] = ()
