"""Trained weights from a file: read without running code in it, and refused by name where they cannot be right."""

from __future__ import annotations

import pickle
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from xaimed_bench.checkpoint_files import foreign_format, is_safetensors

_HOW = "save it as torch.save(model.state_dict(), path)"
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
"""What parallel, compiled and wrapped (Lightning) models put before every name."""
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@final
@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a state dict by name, without wrappers and prefixes.

    ``classes``: what the outputs stand for, in their order; empty where the file does not say.
    """

    file: str
    state: dict[str, Tensor]
    classes: tuple[str, ...] = ()

    def class_count(self, head: str) -> int | None:
        """How many classes the linear layer ``head`` (its dotted name) has here; None where it is missing."""
        weight = self.state.get(f"{head}.weight")
        return len(weight) if weight is not None and weight.ndim == 2 else None


# ---------------------------------------------------------------------------------------------------- reading
def read_checkpoint(path: str | Path) -> Checkpoint:
    """The weights in a file of torch.save or safetensors. Only tensors are read, no code is run.

    The state dict is the file's content, or lies under one name in it ("state_dict", "model"); the names of the classes
    may lie beside it, as "classes", "class_names" or torchvision's "class_to_idx".
    Raises FileNotFoundError, and ValueError for a file of another format, a damaged one, one that holds no or several
    state dicts, or tensors whose values are not plain numbers in memory (meta, sparse, quantised, ...).
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"no checkpoint at {file}; give the path of a file written by torch.save")
    foreign = foreign_format(file)
    if foreign is not None:
        raise ValueError(f"{file.name} is {foreign}; a PyTorch state dict is wanted: {_HOW}")
    found = _read_safetensors(file) if is_safetensors(file) else _read_torch(file)
    state = _without_prefixes(_weights_in(found, file.name))
    for name, tensor in state.items():
        fault = _fault_of_kind(tensor)
        if fault is not None:
            raise ValueError(f"{file.name}: {name} {fault}")
    _refuse_shared_values(state, file.name)
    return Checkpoint(file.name, state, _classes_in(cast("dict[str, object]", found)))


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(
            f"{file.name} needs the package safetensors; type: pip install safetensors"
        ) from error
    try:
        return load_file(file)
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ").splitlines()[0][:100]
        raise ValueError(
            f"{file.name} is damaged or no safetensors file ({reason}); get it again, or write it with "
            "safetensors.torch.save_file(model.state_dict(), path)"
        ) from error


def _read_torch(file: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on kinds of tensors and pickles, which are refused by name
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file.name} holds no plain state dict: only running code in it could open it, or it is damaged; {_HOW}"
        ) from error
    except Exception as error:
        raise ValueError(
            f"{file.name} holds no plain state dict, or is damaged or cut short ({type(error).__name__}); {_HOW}"
        ) from error


def _weights_in(found: object, file: str) -> dict[str, Tensor]:
    """The one mapping of names to tensors that a file's content is or holds."""
    inside = cast("dict[object, object]", found) if isinstance(found, dict) else {}
    sets = {str(key): value for key, value in inside.items() if _odd_entry(value) is None}
    if len(sets) > 1:
        raise ValueError(f"{file} holds several sets of weights ({', '.join(sets)}); give one: {_HOW}")
    state = next(iter(sets.values()), found)
    odd = _odd_entry(state)
    if odd is not None:
        raise ValueError(f"{file} holds no state dict, a mapping of names to tensors ({odd}); {_HOW}")
    return dict(cast("dict[str, Tensor]", state))


def _odd_entry(value: object) -> str | None:
    """What keeps ``value`` from being a state dict."""
    if not isinstance(value, dict) or not value:
        return "it is empty" if value == {} else f"it is {type(value).__name__}"
    entries = cast("dict[object, object]", value)
    odd = ((k, v) for k, v in entries.items() if not isinstance(k, str) or not isinstance(v, Tensor))
    return next((f"{key!r} is {type(entry).__name__}" for key, entry in odd), None)


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _without_prefixes({name.removeprefix(prefix): tensor for name, tensor in state.items()})
    return state


def _classes_in(found: dict[str, object]) -> tuple[str, ...]:
    numbers: Any = found.get("class_to_idx")
    if isinstance(numbers, dict) and sorted(numbers.values(), key=str) == sorted(
        range(len(numbers)), key=str
    ):
        return tuple(str(name) for name in sorted(numbers, key=lambda name: numbers[name]))
    for names in (found.get("classes"), found.get("class_names")):
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return tuple(cast("list[str]", names))
    return ()


def _fault_of_kind(tensor: Tensor) -> str | None:
    """Why a tensor's values cannot be taken as they are, and what to do."""
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"is a {type(tensor).__name__}, not a plain tensor; save tensor.as_subclass(torch.Tensor)"
    if tensor.is_meta:
        return "is a meta tensor, a shape without values; save the model after its weights were loaded"
    if tensor.is_nested or tensor.layout != torch.strided:
        return (
            f"is {'nested' if tensor.is_nested else 'sparse'}; save it as a dense tensor: tensor.to_dense()"
        )
    if tensor.is_quantized:
        return f"is quantised ({_dtype(tensor)}); save the model before its conversion, in float32"
    if tensor.numel() == 0:
        return f"has the shape {tuple(tensor.shape)} and so no values; save the whole model again"
    return None


def _refuse_shared_values(state: dict[str, Tensor], file: str) -> None:
    """Refuse tensors that need more room than they have: expanded ones, and those that lie over each other."""
    by_storage: defaultdict[int, list[str]] = defaultdict(list)
    for name, tensor in state.items():
        by_storage[tensor.untyped_storage().data_ptr()].append(name)
    for names in by_storage.values():
        room = state[names[0]].untyped_storage().nbytes()
        if sum(state[name].numel() * state[name].element_size() for name in names) > room:
            what = "repeats its values" if len(names) == 1 else f"and {names[1]} lie over each other"
            raise ValueError(f"{file}: {names[0]} {what} in memory; save tensor.clone() of each")


# ---------------------------------------------------------------------------------------------------- loading
def load_checkpoint(model: nn.Module, head: str, checkpoint: Checkpoint) -> None:
    """Copy the weights into ``model``, whose classifier is the linear layer ``head``, in place.

    Floats of 16 to 64 bits are taken and rounded to the model's. Raises ValueError, with the tensor's name, for another
    number of classes, names or shapes that do not fit, and values that a trained network cannot have: NaN, infinity,
    negative variances, other kinds of numbers than the model's.
    """
    own, state, file = model.state_dict(), checkpoint.state, checkpoint.file
    _refuse_second_classifiers(state, f"{head}.weight", file)
    _refuse_other_classes(checkpoint, head, len(own[f"{head}.weight"]))
    problems = {
        "missing": [n for n in own if n not in state and not n.endswith("num_batches_tracked")],
        "not in this network": [n for n in state if n not in own],
        "of another shape": [n for n in state if n in own and state[n].shape != own[n].shape],
    }
    if any(problems.values()):
        said = "; ".join(f"{len(v)} {k} (first: {v[0]})" for k, v in problems.items() if v)
        raise ValueError(
            f"{file} does not fit {type(model).__name__}: {said}. Was it saved from torchvision's network?"
        )
    for name, tensor in state.items():
        fault = fault_of_values(name, tensor, own[name])
        if fault is not None:
            raise ValueError(f"{file}: {name} {fault}")
    model.load_state_dict(state, strict=False)  # strict but for num_batches_tracked, checked above


def _refuse_second_classifiers(state: dict[str, Tensor], weight: str, file: str) -> None:
    found = [name for name in state if name == weight or name.endswith(f".{weight}")]
    if len(found) > 1:
        raise ValueError(
            f"{file}: {' and '.join(found[:3])} could each be the classifier; save one network alone: {_HOW}"
        )


def _refuse_other_classes(checkpoint: Checkpoint, head: str, asked: int) -> None:
    has, file, names = checkpoint.class_count(head), checkpoint.file, checkpoint.classes
    if has is not None and has != asked:
        raise ValueError(
            f"{file}: the checkpoint's classifier has {has} classes, {asked} were asked for; "
            f"give classes={has} (--classes {has})"
        )
    if names and has is not None and (len(names) != has or len(set(names)) != has):
        raise ValueError(
            f"{file} names {len(set(names))} different classes ({', '.join(names[:3])}, ...) and its classifier "
            f"{head} has {has}; save one name for each output"
        )


def fault_of_values(name: str, tensor: Tensor, own: Tensor) -> str | None:
    """Why these values cannot be those of the model's own tensor, and what to do."""
    wanted = _FLOATS if own.is_floating_point() else (own.dtype,)
    if tensor.dtype not in wanted:
        return (
            f"holds {_dtype(tensor)} numbers where {_dtype(own)} belongs; save the model as it was trained, "
            "not converted or compressed: model.float().state_dict()"
        )
    if own.is_floating_point():
        wrong = int((~tensor.to(own.dtype).isfinite()).sum())
        if wrong:
            return (
                f"is NaN or infinite in {wrong} of {tensor.numel()} values; "
                "give a checkpoint from before the training diverged"
            )
        if name.endswith("running_var") and bool((tensor < 0).any()):
            return "holds a negative variance, which no training gives; save the model again"
    elif not name.endswith("num_batches_tracked") and not torch.equal(tensor, own):
        return "differs from the network's own table of positions; save the model again"
    return None


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
