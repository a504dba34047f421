"""Two maps as one: what both mark, or what the one marks inside the other's region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from xaimed_core.explanation import Explanation, Maps
from xaimed_core.numbers_given import is_real
from xaimed_kernels.rescale_maps.reference import min_max

How = Literal["product", "geometric mean", "within"]
"""product: ``a b``. geometric mean: ``sqrt(a b)``. within: ``a`` where ``b`` is at least ``above``, 0 elsewhere."""

_RULES: Final[dict[How, Callable[[Tensor, Tensor, float], Tensor]]] = {
    "product": lambda a, b, _above: a * b,
    "geometric mean": lambda a, b, _above: (a * b).sqrt(),
    "within": lambda a, b, above: a * (b >= above),
}


def hybrid(
    explained: Explanation | Maps, first: str, second: str, how: How = "product", *, above: float = 0.5
) -> Maps:
    """The maps that were explained and a hybrid of two of them, each scaled to [0, 1] again.

    `road_table` and `evaluate` score it beside its parts: ``road_table(model, images, hybrid(e, "layercam",
    "gradcam++", "within"))``. Its name is e.g. "layercam within gradcam++". A hybrid of maps that share no place is 0.
    Raises ValueError for maps that are not there, an unknown ``how``, or an ``above`` outside [0, 1].
    """
    maps = explained if isinstance(explained, Maps) else explained.maps
    missing = [name for name in (first, second) if name not in maps]
    if missing:
        raise ValueError(f"no map of {', '.join(missing)} was explained; there are {', '.join(maps)}")
    if how not in get_args(How):
        raise ValueError(f"no hybrid {how!r}; choose {', '.join(get_args(How))}")
    if not is_real(above) or not 0 <= above <= 1:
        raise ValueError(f"above must be a number from 0 to 1, got {above!r}")
    with torch.no_grad():
        found = _RULES[how](maps[first], maps[second], above)
        several = isinstance(maps.targets, tuple)  # maps of several classes of each image
        scaled, _ = min_max(found.flatten(0, 1) if several else found)
    name = f"{first} {how} {second}" if how == "within" else f"{how} of {first} and {second}"
    return Maps({**maps, name: scaled.reshape(found.shape)}, maps.targets, maps.output)
