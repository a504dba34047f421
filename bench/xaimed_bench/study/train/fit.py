"""The training itself: steps that follow from the seed and their number alone, and a state kept on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xaimed_bench.data.stream import Batch
from xaimed_bench.progress import Steps
from xaimed_bench.study.train.images import Images, Machine, batches_of, epoch_from, outputs_of
from xaimed_bench.study.train.recipe import Recipe, dropout_seed, flips_of, rate_at
from xaimed_bench.study.train.state import State, read_state, write_state
from xaimed_reports.store.jsonform import UnusableError


@final
@dataclass(frozen=True)
class Kept:
    """Where a training's state is written, and how often: after each epoch, and when ``every_s`` seconds are over."""

    path: Path
    every_s: float = 300.0
    on_epoch: Callable[[State], None] = field(default=lambda _: None)


def fit(model: nn.Module, data: Images, recipe: Recipe, seed: int, machine: Machine, kept: Kept) -> State:
    """Train ``model`` in place on its device, on from the state kept; at the end it has the weights to keep.

    The global random state is left as it was. Raises OSError where the state cannot be written: the one before stays.
    """
    on = [machine.team.device] if machine.team.device.type == "cuda" else []
    with torch.random.fork_rng(on):
        training = _Training(model, data, recipe, seed, machine, kept)
        training.run()
    if training.state.best:
        model.load_state_dict(training.state.best)
    model.eval()
    return training.state


def keep_statistics(model: nn.Module) -> None:
    """Let every BatchNorm normalise by the mean and variance that it has, not by those of the batch, in place."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm):
            module.eval()


@final
class _Training:
    def __init__(
        self, model: nn.Module, data: Images, recipe: Recipe, seed: int, machine: Machine, kept: Kept
    ) -> None:
        self._data, self._recipe, self._seed, self._machine, self._kept = data, recipe, seed, machine, kept
        self._items = data.split("training")
        self._validation = data.split("validation")
        self._patience = recipe.patience if self._validation else 0
        self._in_epoch = len(batches_of(len(self._items), recipe.batch))
        self._model = machine.team.together(model)
        self._bare = getattr(self._model, "module", self._model)
        self._optimizer = torch.optim.SGD(
            model.parameters(), lr=recipe.rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
        self._momentum: dict[str, Tensor] = {}
        for name, parameter in self._bare.named_parameters():  # there before the first step, to be read into
            self._momentum[name] = torch.zeros_like(parameter)
            self._optimizer.state[parameter]["momentum_buffer"] = self._momentum[name]
        self.state = read_state(kept.path, self._bare, self._momentum)
        machine.team.wait()  # before the first process writes again
        self._written_s = time.monotonic()

    def run(self) -> None:
        state, recipe = self.state, self._recipe
        left = recipe.epochs * self._in_epoch - state.step
        with Steps("step", left, short=True, shown=self._machine.team.leads) as steps:
            while len(state.log) < recipe.epochs and not state.stopped(self._patience):
                epoch, begun = len(state.log), time.monotonic()
                flipped = flips_of(self._seed, epoch, len(self._items))
                first = state.step - epoch * self._in_epoch
                rest = epoch_from(self._data, self._machine, recipe.batch, self._seed, epoch, first)
                for batch in rest:
                    mean = f", loss {state.loss / state.seen:.3f}" if state.seen else ""
                    steps.begin(f"epoch {epoch + 1} of {recipe.epochs}{mean}")
                    self._learn(batch, flipped)
                    state.step += 1
                    if time.monotonic() - self._written_s >= self._kept.every_s:
                        self._write()
                self._end_epoch(epoch, time.monotonic() - begun)

    def _learn(self, batch: Batch | None, flipped: np.ndarray) -> None:
        """One step on the batches of all processes together."""
        team, recipe = self._machine.team, self._recipe
        count = float(team.total(torch.tensor(0 if batch is None else len(batch.labels))))
        if count < 2:  # the others cannot be read; from one image BatchNorm cannot learn, as in `batches_of`
            return
        if batch is None:  # nothing of this process's part can be read; the others wait for its gradients
            images = torch.zeros(1, 3, self._data.size, self._data.size)
            labels = torch.zeros(0, dtype=torch.long)
        else:
            images, labels = batch.images, batch.labels
            if recipe.flips:
                mirrored = torch.from_numpy(flipped[batch.index.numpy()])[:, None, None, None]
                images = torch.where(mirrored, images.flip(3), images)
        torch.manual_seed(dropout_seed(self._seed, self.state.step, team.rank))
        for group in self._optimizer.param_groups:
            group["lr"] = rate_at(recipe, self.state.step, recipe.epochs * self._in_epoch)
        self._model.train()
        if recipe.probe:
            keep_statistics(self._bare)
        logits = self._machine.forward(self._model, self._machine.seen(images))[: len(labels)]
        summed = functional.cross_entropy(
            logits, labels.to(logits.device), label_smoothing=recipe.smoothing, reduction="sum"
        )
        self._optimizer.zero_grad()
        (summed * (team.size / count)).backward()  # the gradients of the processes are averaged
        self._optimizer.step()
        self.state.loss += float(team.total(summed.detach().double()))
        self.state.seen += int(count)

    def _end_epoch(self, epoch: int, seconds: float) -> None:
        state = self.state
        if not math.isfinite(state.loss):
            raise UnusableError(f"the loss of epoch {epoch + 1} is not finite; begin again with a lower --lr")
        if not state.seen:
            raise UnusableError(f"epoch {epoch + 1} learnt nothing: no batch had two images that can be read")
        row = {"epoch": epoch + 1, "step": state.step, "loss": state.loss / state.seen}
        if self._validation:
            found = outputs_of(self._bare, self._data, self._validation, self._machine)
            logits, labels = found.of(range(len(self._validation)))
            row["validation_loss"] = float(functional.cross_entropy(logits, labels))
            row["validation_accuracy"] = float((logits.argmax(1) == labels).double().mean())
        if self._patience and row["validation_loss"] < state.best_loss:
            state.best_loss, state.best_epoch = row["validation_loss"], epoch + 1
            state.best = {name: tensor.detach().clone() for name, tensor in self._bare.state_dict().items()}
        state.log.append({**row, "seconds": round(seconds, 1)})
        state.loss, state.seen = 0.0, 0
        self._write()
        if self._machine.team.leads:
            self._kept.on_epoch(state)

    def _write(self) -> None:
        if self._machine.team.leads:
            write_state(self._kept.path, self.state, self._bare, self._momentum)
        self._written_s = time.monotonic()
