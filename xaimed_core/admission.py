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


def admit_model(model: Any) -> tuple[nn.Module, str]:
    """The module to run, and words for what was taken off around it. Raises TypeError or ValueError."""
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
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise TypeError(
            f"model is a {kind}, whose layers cannot be looked into; pass the network itself, a torch.nn.Module"
        )
    module, taken = unwrap(model)
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            "the model is traced or scripted by torch.jit, which runs without the Python that a layer's output is "
            "taken from; explain the network it was made from"
        )
    if isinstance(module, fx.GraphModule) and not _calls_layers(module):
        raise TypeError(
            "the model is a graph that calls no modules, as torch.export makes it, so that it has no layers; "
            "explain the network it was made from"
        )
    _refuse_without_numbers(module)
    return module, taken


def _calls_layers(graph: fx.GraphModule) -> bool:
    called = [graph.get_submodule(str(node.target)) for node in graph.graph.find_nodes(op="call_module")]
    return any(True for module in called for _ in module.parameters())


def admit_images(model: nn.Module, images: Any) -> Tensor:
    """The images as a plain tensor. Raises TypeError or ValueError that say what was wrong and what to give."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"images must be a tensor [n, channels, height, width], got {type(images).__name__}"
            + ("; convert with torch.from_numpy" if type(images).__module__ == "numpy" else "")
        )
    images = plain(images)
    if images.ndim < 3 or _lacks_batch(model, images.ndim):
        raise ValueError(
            f"images must be [n, channels, *size], got {tuple(images.shape)}; add the batch axis with images[None]"
        )
    if images.numel() == 0:
        raise ValueError(f"the batch is empty: images have shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(
            f"images must be floating point as the model expects them, got {images.dtype}; convert and normalise them"
        )
    parameter = next(model.parameters(), None)
    if parameter is not None and parameter.device != images.device:
        raise ValueError(
            f"the model is on {parameter.device}, the images on {images.device}; move one with .to()"
        )
    return images


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
