"""Maps by method, with the targets that they explain."""

from __future__ import annotations

from typing import final

from torch import Tensor

from xaimed_core.targets import Targets


@final
class Maps(dict[str, Tensor]):
    """Maps by method; ``targets``: whose scores they explain, so that a metric can score the same."""

    targets: Targets | tuple[Targets, ...] | None = None
