"""Features that stay as they are: computed once for each image, kept on the way, and a linear classifier on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from xaimed_bench.data.sets import Item, SplitName
from xaimed_bench.models import classifier_of
from xaimed_bench.progress import Steps
from xaimed_bench.study.train.images import Images, Machine, Outputs
from xaimed_bench.tensor_files import write_tensors
from xaimed_reports.store.jsonform import UnusableError

CHUNK = 256
"""Images in a file of features: what a kill may lose."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of the L2 penalty, on features of unit spread, to choose from on validation."""
WITHOUT_VALIDATION = 1e-2


@final
@dataclass(frozen=True)
class Features:
    """What a network's classifier sees of items ``[n, d]``, their ``labels [n]``, and which could be read."""

    values: Tensor
    labels: Tensor
    there: Tensor


def features_of(model: nn.Module, data: Images, which: SplitName, machine: Machine, kept: Path) -> Features:
    """Of all items of a split, from the files in ``kept`` where they have been computed before.

    The processes of a team share the files out. Raises UnusableError for a network whose classifier does not see one
    row of features an image.
    """
    items = data.split(which)
    starts = range(0, len(items), CHUNK)
    paths = [kept / f"{which}-{start:07d}.safetensors" for start in starts]
    missing = [(start, path) for start, path in zip(starts, paths, strict=True) if not path.exists()]
    mine = missing[machine.team.rank :: machine.team.size]
    with Steps(f"features of {which} images, part", len(mine), shown=machine.team.leads) as steps:
        for start, path in mine:
            steps.begin(f"{start + 1} to {min(start + CHUNK, len(items))} of {len(items)}")
            write_tensors(_compute(model, data, items[start : start + CHUNK], machine), {}, path)
    machine.team.wait()
    parts = [load_file(path) for path in paths]
    if not parts:
        return Features(
            torch.zeros(0, classifier_of(model).in_features), torch.zeros(0, dtype=torch.long), torch.zeros(0)
        )
    values, labels, there = (
        torch.cat([part[name] for part in parts]) for name in ("values", "labels", "there")
    )
    return Features(values, labels, there)


def _compute(model: nn.Module, data: Images, items: Sequence[Item], machine: Machine) -> dict[str, Tensor]:
    head = classifier_of(model)
    values, labels = torch.zeros(len(items), head.in_features), torch.zeros(len(items), dtype=torch.long)
    there = torch.zeros(len(items), dtype=torch.bool)
    seen: list[tuple[Tensor, Tensor]] = []

    def look(_: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        seen.append((given[0], answer))

    with head.register_forward_hook(look), torch.no_grad():
        for batch in data.stream(items, machine):
            seen.clear()
            answer = machine.forward(model.eval(), machine.seen(batch.images))
            if not _is_last(head, seen, answer):
                raise UnusableError(
                    f"{type(model).__name__} does not end in a linear layer with a bias on one row of features an "
                    "image; leave --freeze out"
                )
            values[batch.index] = seen[0][0].float().cpu()
            labels[batch.index], there[batch.index] = batch.labels, True
    return {"values": values, "labels": labels, "there": there}


def _is_last(head: nn.Linear, seen: Sequence[tuple[Tensor, Tensor]], answer: Tensor) -> bool:
    """Whether the linear layer was run once, on a row for each image, and gave the answer."""
    once = len(seen) == 1 and seen[0][0].shape == (len(answer), head.in_features)
    return once and "bias" in head.state_dict() and torch.equal(seen[0][1].float(), answer)


@final
@dataclass(frozen=True)
class Head:
    """A linear classifier ``weight [c, d]``, ``bias [c]``, found with an L2 penalty of ``strength``."""

    weight: Tensor
    bias: Tensor
    strength: float

    def put_into(self, model: nn.Module) -> None:
        """Make it the model's own classifier, in place."""
        classifier_of(model).load_state_dict({"weight": self.weight, "bias": self.bias})

    def outputs(self, features: Features) -> Outputs:
        logits = functional.linear(features.values.double(), self.weight, self.bias)
        return Outputs(logits.float(), features.labels, features.there.bool())

    def loss(self, features: Features) -> float:
        logits, labels = self.outputs(features).of(range(len(features.labels)))
        return float(functional.cross_entropy(logits, labels))


def fit_head(training: Features, validation: Features, classes: int) -> tuple[Head, Head]:
    """The multinomial logistic regression whose strength of penalty has the lowest loss on validation.

    Twice: on training alone, which can be judged on validation, and with that strength on both, which is the one to
    keep. L-BFGS in float64 on all features, from zeros: it follows from them alone.
    """
    if not bool(validation.there.any()):
        only = _fit(training, classes, WITHOUT_VALIDATION)
        return only, only
    heads = [_fit(training, classes, strength) for strength in STRENGTHS]
    best = min(heads, key=lambda head: head.loss(validation))
    both = Features(
        torch.cat([training.values, validation.values]),
        torch.cat([training.labels, validation.labels]),
        torch.cat([training.there, validation.there]),
    )
    return best, _fit(both, classes, best.strength)


def _fit(features: Features, classes: int, strength: float) -> Head:
    seen = features.there.bool()
    x, y = features.values[seen].double(), features.labels[seen]
    mean, spread = x.mean(0), x.std(0, correction=0).clamp_min(1e-12)
    weight, bias = _regress((x - mean) / spread, y, classes, strength)
    return Head(weight / spread, bias - weight / spread @ mean, strength)


def _regress(x: Tensor, y: Tensor, classes: int, strength: float) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(classes, x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=x.dtype, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = (
            functional.cross_entropy(functional.linear(x, weight, bias), y)
            + strength / 2 * weight.square().sum()
        )
        value.backward()
        return value

    solver.step(loss)
    return weight.detach(), bias.detach()
