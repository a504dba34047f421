"""What `road` costs beside the forwards that it cannot do without: each image as it is and perturbed, in batches of 4.

One thread, whose processor time is taken: other processes do not enter it.
Usage: python bench/road_beside_forwards.py NETWORK BATCH [NETWORK BATCH ...]    networks of torchvision
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from xaimed_core import road

PERTURBED = 8  # two orders, four fractions
TURNS = 3


@torch.no_grad()
def in_fours(model: nn.Module, images: Tensor) -> None:
    for _ in range(1 + PERTURBED):
        for part in images.split(4):
            model(part)


def seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measured(name: str, n: int) -> str:
    model = getattr(torchvision.models, name)().eval()
    images, maps = torch.randn(n, 3, 224, 224), torch.rand(n, 224, 224)
    with torch.no_grad():
        known = torch.cat([model(part) for part in images.split(4)])
    held: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: held.append(len(inputs[0])))
    road(model, images, maps, progress=False)  # measures
    held.clear()
    calls = {
        "as given": lambda: road(model, images, maps, progress=False),
        "known": lambda: road(model, images, maps, before=known, progress=False),
    }
    said = [name, str(n)]
    for call in calls.values():
        held.clear()
        call()
        rows, most = sum(held), max(held[-n:], key=held.count)
        turns = [seconds(call) / seconds(lambda: in_fours(model, images)) for _ in range(TURNS)]
        said += [f"{rows / n:.2f}", str(most), f"{statistics.median(turns):.3f}"]
    return f"| {' | '.join(said)} |"


def main() -> None:
    torch.set_num_threads(1)
    columns = ("forwards of each image", "rows of one", "times nine forwards of 4")
    print("| network | n |", " | ".join([*columns, *(f"{column}, before=" for column in columns)]), "|")
    print("|---|---|---|---|---|---|---|---|")
    given = sys.argv[1:]
    for name, n in zip(given[::2], given[1::2], strict=True):
        print(measured(name, int(n)), flush=True)


if __name__ == "__main__":
    main()
