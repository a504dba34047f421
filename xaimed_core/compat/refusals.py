"""What grad-cam 1.5.7 has and xaimed does not mirror, each by name with what to do instead."""

from __future__ import annotations


class NotMirroredError(NotImplementedError):
    """A part of grad-cam that `xaimed_core.compat` does not mirror was asked for."""


def refused(name: str, where: str, table: dict[str, str]) -> Exception:
    """What a module's ``__getattr__`` raises for ``name``."""
    if name in table:
        return NotMirroredError(f"xaimed_core.compat does not mirror {name}: {table[name]}")
    return AttributeError(f"{where} has no {name!r}")
