"""What is let in: a model that can be run and images that it can be shown, or one sentence on what to give instead."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy

from xaimed_core.forward import unwrap
from xaimed_core.outputs import plain

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
REAL = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def admit_module(model: Any) -> nn.Module:
    """The model, which can be run. Raises TypeError or ValueError that say what to pass instead."""
    if isinstance(model, str | Path):
        raise TypeError(
            f"model is the path or name {str(model)!r}; build the network, load its weights with "
            "model.load_state_dict(...), and pass the module"
        )
    if isinstance(model, dict):
        raise TypeError(
            "model is a dict, perhaps a state dict; build the network, load_state_dict it, pass the module"
        )
    if isinstance(model, type):
        raise TypeError(
            f"model is the class {model.__name__}, not a network; pass an instance, {model.__name__}(...)"
        )
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"model is a {kind}, whose layers cannot be looked into; pass a torch.nn.Module, the network itself"
        )
    if getattr(model.forward, "__func__", None) is nn.Module.forward:
        raise TypeError(f"model is a {kind} without a forward of its own; pass the network that holds it")
    _refuse_without_numbers(model)
    return model


def admit_model(model: Any) -> tuple[nn.Module, str]:
    """The module whose layers can be looked at, and words for what was taken off. Raises as `admit_module`."""
    module, taken = unwrap(admit_module(model))
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            "the model is traced or scripted by torch.jit, which runs without the Python that a layer's output is "
            "taken from; explain the network it was made from"
        )
    if isinstance(module, fx.GraphModule) and not _calls_layers(module):
        raise TypeError(
            "the model is an exported program, in whose graph no layers are left; explain the network it was made from"
        )
    return module, taken


def _calls_layers(graph: fx.GraphModule) -> bool:
    called = [graph.get_submodule(str(node.target)) for node in graph.graph.find_nodes(op="call_module")]
    return any(True for module in called for _ in module.parameters())


def admit_images(model: nn.Module, images: Any) -> Tensor:
    """The images as a plain tensor. Raises TypeError or ValueError that say what was wrong and what to give."""
    images = real_images(images)
    if images.ndim < 3 or _lacks_batch(model, images.ndim):
        raise ValueError(
            f"images must be [n, channels, *size], got {tuple(images.shape)}; add the batch axis with images[None]"
        )
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device != images.device:
        raise ValueError(
            f"the model is on {parameter.device}, the images on {images.device}; move one with .to()"
        )
    return images


def real_images(images: Any) -> Tensor:
    """Images as a plain tensor of real numbers, at least one. Raises TypeError or ValueError that say what to give."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"images must be a tensor [n, channels, *size] as the model reads them, got {type(images).__name__}; "
            f"{_how_to_convert(images)}"
        )
    images = plain(images)
    if images.is_nested or images.layout != torch.strided:
        raise TypeError("images are a sparse or nested tensor; give a dense one, e.g. images.to_dense()")
    if images.is_meta:
        raise ValueError("the images are on the meta device and hold no numbers; load them first")
    if images.dtype not in REAL:
        raise TypeError(
            f"images must be floating point as the model expects them, got {images.dtype}; convert and normalise them"
        )
    if images.numel() == 0:
        raise ValueError(f"the batch is empty: images have shape {tuple(images.shape)}")
    return images


def _how_to_convert(images: Any) -> str:
    if isinstance(images, list | tuple):
        return "put them together with torch.stack(images)"
    if isinstance(images, str | Path):
        return "read the file, and normalise what it holds, first"
    if hasattr(images, "__array__") or hasattr(images, "__array_interface__"):
        return "convert with torch.from_numpy(numpy.array(images)), axes in this order, and normalise"
    return "load them first"


def _lacks_batch(model: nn.Module, ndim: int) -> bool:
    """Whether all convolutions take images of one axis more: torch would run them, and take channels for images."""
    if ndim > 4:
        return False
    taken = {len(m.kernel_size) + 2 for m in model.modules() if isinstance(m, CONVOLUTIONS)}
    return bool(taken) and min(taken) == ndim + 1


def _refuse_without_numbers(model: nn.Module) -> None:
    for module in model.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is None or not (is_lazy(tensor) or tensor.is_meta):
                continue
            name = next(
                name for name, one in (*model.named_parameters(), *model.named_buffers()) if one is tensor
            )
            if is_lazy(tensor):
                raise ValueError(
                    f"{name} has no shape yet; run the model once on an image before it is explained"
                )
            raise ValueError(f"{name} is on the meta device and holds no numbers; load the weights first")
