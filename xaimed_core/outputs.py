"""Where the scores are in what a model returns, and the plain words for a call that fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from operator import index
from typing import Any, SupportsIndex, cast

import torch
from torch import Tensor, nn

OutputChoice = None | int | str | Callable[[Any], Tensor]
"""Which of several outputs holds the scores: its position, its key or field, or a function of the whole output."""

_BY_NAME = ("logits", "out")
_NO_SCORES = (
    "in which no scores were found; wrap the model so that it returns a tensor [n, classes], "
    "or give output=, a function that makes one of what it returns"
)


def scores_in(output: Any, n: int | None, choice: OutputChoice = None) -> tuple[Tensor, str]:
    """The tensor ``[n, ...]`` that targets read in a model's output, and where it was; no words where it was alone.

    A tensor is itself. ``.logits`` (Hugging Face) and a mapping's "logits" or "out" go by name. Else the
    only tensor ``[n, k]`` of real numbers in tuples, lists, mappings and dataclasses is taken, or, where none is, the
    only one whose first axis is the batch. ``n`` None: for any batch. ``choice`` decides where that is not so.

    Raises ValueError where several tensors could be the scores, TypeError where none could.
    """
    if choice is not None:
        return _chosen(output, n, choice)
    if isinstance(output, Tensor):
        return plain(output), ""
    leaves = list(_leaves(output))
    named = _named(output)
    if named is not None:
        key, found = named
        return plain(found), f"scores: {key}, of {len(leaves)} outputs" if len(leaves) > 1 else ""
    if _one_each(output, n):
        raise TypeError(
            f"the model returned {len(output)} mappings, one for each image, as detectors do; give output=, a function "
            'that makes scores [n, ...] of them, e.g. lambda found: torch.stack([f["scores"].sum() for f in found])'
        )
    batched = [(path, t) for path, t in leaves if t.is_floating_point() and t.ndim and n in (None, len(t))]
    candidates = [leaf for leaf in batched if leaf[1].ndim == 2] or batched
    if not candidates:
        raise TypeError(f"the model returned {_described(output, leaves)}, {_NO_SCORES}")
    if len(candidates) > 1:
        raise ValueError(_ambiguous(candidates))
    path, found = candidates[0]
    shape = tuple(found.shape)
    return plain(found), f"scores: {path} {shape}, of {len(leaves)} outputs" if len(leaves) > 1 else ""


def outputs_of(model: nn.Module, images: Tensor, choice: OutputChoice = None) -> Tensor:
    """The model's output rows, one per image. Raises ValueError where its first axis is not the batch."""
    return rows_of(call(model, images), len(images), choice)[0]


def rows_of(output: Any, n: int, choice: OutputChoice = None) -> tuple[Tensor, str]:
    """`scores_in`, whose first axis must be the ``n`` images."""
    scores, words = scores_in(output, n, choice)
    if scores.ndim == 0 or len(scores) != n:
        raise ValueError(
            f"the model gave {tuple(scores.shape)} for {n} images; its first axis must be the batch, "
            "with scores [n, classes], or [n] and a callable as target"
        )
    if scores.is_complex():
        raise TypeError(
            f"the model gave {scores.dtype}, and a score is a real number; give output=, e.g. lambda out: out.abs()"
        )
    return scores, words


def call(model: nn.Module, images: Tensor) -> Any:
    """``model(images)``; where that fails because dtype, device or channels do not fit, the error says so plainly.

    So it does where forward takes more than the images.
    """
    try:
        return model(plain(images))
    except TypeError as error:
        cause = _takes_more(model, images)
        if cause is None:
            raise
        raise TypeError(cause) from error
    except RuntimeError as error:
        cause = _misfit(model, images, str(error))
        if cause is None:
            raise
        raise ValueError(cause) from error


def _takes_more(model: nn.Module, images: Tensor) -> str | None:
    try:
        inspect.signature(model.forward).bind(images)
    except TypeError as error:
        return (
            f"the model's forward takes more than the images ({error}); wrap it in a module that holds the rest, and "
            "whose forward takes the images alone"
        )
    except ValueError:  # no signature can be had
        pass
    return None


def plain(tensor: Tensor) -> Tensor:
    """The tensor without a subclass that only carries more (MONAI's MetaTensor, a Parameter): same memory.

    Subclasses that compute by themselves (`DTensor`) have no plain form and are left.
    """
    own = getattr(type(tensor), "__torch_dispatch__", None) != getattr(Tensor, "__torch_dispatch__", None)
    if type(tensor) is Tensor or own:
        return tensor
    with torch._C.DisableTorchFunctionSubclass():  # pyright: ignore[reportPrivateUsage] # else MetaTensor returns one
        return tensor.as_subclass(Tensor)


def _named(output: Any) -> tuple[str, Tensor] | None:
    if isinstance(getattr(output, "logits", None), Tensor):
        return "output.logits", output.logits
    children = _children(output)
    for key, child in children:
        if isinstance(output, Mapping) and key in _BY_NAME and isinstance(child, Tensor):
            return f"output[{key!r}]", child
    only = [child for _, child in children if child is not None]
    return _named(only[0]) if len(only) == 1 and not isinstance(only[0], Tensor) else None


def _children(output: Any) -> list[tuple[int | str, Any]]:
    match output:
        case Mapping():
            return list(cast("Mapping[str, Any]", output).items())
        case tuple() | list():
            return list(enumerate(cast("Sequence[Any]", output)))
        case _ if is_dataclass(output) and not isinstance(output, type):
            return [(field.name, getattr(output, field.name)) for field in fields(output)]
        case _:
            return []


def _leaves(output: Any, path: str = "output") -> Iterator[tuple[str, Tensor]]:
    for key, child in _children(output):
        here = f"{path}.{key}" if is_dataclass(output) else f"{path}[{key!r}]"
        if isinstance(child, Tensor):
            yield here, child
        else:
            yield from _leaves(child, here)


def _one_each(output: Any, n: int | None) -> bool:
    return (
        isinstance(output, list | tuple)
        and (len(output) == n if n else len(output) > 1)
        and all(isinstance(each, Mapping) for each in cast("Sequence[Any]", output))
    )


def _chosen(output: Any, n: int | None, choice: OutputChoice) -> tuple[Tensor, str]:
    if callable(choice):
        found: Any = choice(output)
        if not isinstance(found, Tensor):
            raise TypeError(f"output= must make a tensor [n, ...] of the output, got {type(found).__name__}")
        return plain(found), f"scores: {getattr(choice, '__name__', type(choice).__name__)} of the output"
    children = _children(output)
    by_key = dict(children)
    if isinstance(choice, bool) or not isinstance(choice, str | SupportsIndex):
        raise TypeError(f"output= must be a position, a key or a function of the output, got {choice!r}")
    wanted = choice if isinstance(choice, str) else index(choice)
    if isinstance(wanted, str) and isinstance(getattr(output, wanted, None), Tensor):
        by_key.setdefault(wanted, getattr(output, wanted))
    if wanted not in by_key and isinstance(wanted, int) and -len(children) <= wanted < len(children):
        wanted = children[wanted][0]
    if wanted not in by_key:
        keys = ", ".join(repr(key) for key, _ in children) or "nothing to choose from"
        raise ValueError(f"output={choice!r}: the model returned {type(output).__name__} with {keys}")
    return scores_in(by_key[wanted], n)[0], f"scores: output {wanted!r}"


def _described(output: Any, leaves: Sequence[tuple[str, Tensor]]) -> str:
    shapes = ", ".join(f"{tuple(leaf.shape)}" for _, leaf in leaves[:5])
    return f"{type(output).__name__} with {shapes}" if shapes else type(output).__name__


def _ambiguous(candidates: Sequence[tuple[str, Tensor]]) -> str:
    listed = ", ".join(f"{path} {tuple(leaf.shape)}" for path, leaf in candidates[:6])
    more = f" and {len(candidates) - 6} more" if len(candidates) > 6 else ""
    return (
        f"the model returned {len(candidates)} tensors that could be the scores: {listed}{more}.\n"
        'Choose with output=1 (a position), output="key" or output=a function of the output, '
        "or let the model return the scores only"
    )


def _misfit(model: nn.Module, images: Tensor, said: str) -> str | None:
    """Why the model cannot run as it is run here, as far as its weights and torch's own words tell."""
    if "requires_grad" in said or "require grad" in said:
        return (
            f"the model asks for a gradient inside its forward ({said.strip().splitlines()[0]}), which runs without "
            "autograd here as under torch.no_grad(); have it ask only where the tensor's requires_grad is True"
        )
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    of_type, of_device = "type" in said, "device" in said
    if weight is not None and weight.device != images.device and (of_type or of_device):
        return f"the model is on {weight.device}, the images on {images.device}; move one with .to()"
    autocast = torch.is_autocast_enabled(images.device.type)
    if weight is not None and weight.dtype != images.dtype and not autocast and of_type:
        return (
            f"the images are {images.dtype}, the model's weights {weight.dtype}; "
            f"give images.to({weight.dtype}), or convert the model"
        )
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((module for module in model.modules() if isinstance(module, kinds)), None)
    if first is not None and "Expected" in said and images.ndim != len(first.kernel_size) + 2:
        axes = ", ".join(("depth", "height", "width")[-len(first.kernel_size) :])
        return f"the model's convolutions read [n, channels, {axes}], the images are {tuple(images.shape)}"
    if first is not None and "channels" in said and first.in_channels != images.shape[1]:
        return (
            f"the model's first convolution reads {first.in_channels} channels, the images have {images.shape[1]}: "
            f"{tuple(images.shape)} is not [n, {first.in_channels}, ...]; repeat or average channels, or convert"
        )
    return None
