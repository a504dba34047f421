"""The folder of a training: what it was asked, how far it is, and that only one run writes into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from xaimed_bench.tensor_files import read_header, write_tensors
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.writing import write_whole

Settings = Mapping[str, str | int | float | bool]
LogRow = dict[str, float]


@final
@dataclass
class State:
    """Where a training stands: all that it needs to go on as if it had never stopped.

    ``step``  batches learnt from; ``loss``, ``seen``  the sum over this epoch's images so far, and how many
    ``best``  of the kept weights: its epoch, loss on validation and tensors; ``log``  a row for each epoch
    """

    step: int = 0
    loss: float = 0.0
    seen: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    log: list[LogRow] = field(default_factory=list[LogRow])

    def stopped(self, patience: int) -> bool:
        """Whether the loss on validation has not fallen for so many epochs."""
        return 0 < patience <= len(self.log) - self.best_epoch


def write_state(path: Path, state: State, model: nn.Module, momentum: Mapping[str, Tensor]) -> None:
    """All of it, or nothing: the file before stays until the new one is safe. Raises OSError."""
    parts = {"model": model.state_dict(), "momentum": momentum, "best": state.best}
    tensors = {f"{part}/{name}": tensor for part, group in parts.items() for name, tensor in group.items()}
    words = ("step", "loss", "seen", "best_epoch", "best_loss", "log")
    write_tensors(tensors, {"state": json.dumps({word: getattr(state, word) for word in words})}, path)


def read_state(path: Path, model: nn.Module, momentum: Mapping[str, Tensor]) -> State:
    """The state that was written, its tensors copied into those given; a fresh one where nothing was."""
    if not path.exists():
        return State()
    from safetensors.torch import load_file

    header = read_header(path)
    if "state" not in header:
        raise UnusableError(f"{path} is damaged; remove it to begin anew")
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "momentum": {}, "best": {}}
    for name, tensor in load_file(path).items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    model.load_state_dict(parts["model"])
    with torch.no_grad():
        for name, tensor in momentum.items():
            tensor.copy_(parts["momentum"][name])
    return State(**json.loads(header["state"]), best=parts["best"])


# ------------------------------------------------------------------------------------------------- the folder
def refuse_begun(folder: Path, *, resume: bool) -> None:
    """Raise UnusableError where a training is there that is not to be resumed."""
    if _noted(folder).exists() and not resume:
        raise UnusableError(f"{folder} holds a training; give --resume to go on with it, or another --out")


def refuse_other(folder: Path, settings: Settings) -> None:
    """Raise UnusableError, with its name, for a setting that is not as it was when the training began."""
    if not _noted(folder).exists():
        return
    before: dict[str, Any] = json.loads(_noted(folder).read_text())
    for name in (*settings, *before):
        if before.get(name) != settings.get(name):
            raise UnusableError(
                f"{folder} was begun with {name} {before.get(name)}, not {settings.get(name)}; "
                "resume it with the same, or give another --out"
            )


def note(folder: Path, settings: Settings) -> None:
    """Keep what is asked of a training, to compare it with what is asked of the one that is resumed."""
    write_whole(_noted(folder), json.dumps(settings, indent=1))


def _noted(folder: Path) -> Path:
    return folder / "state" / "settings.json"
