"""As ``pytorch_grad_cam.utils.find_layers``."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import nn


def replace_layer_recursive(model: nn.Module, old_layer: nn.Module, new_layer: nn.Module) -> bool:
    """Put ``new_layer`` where ``old_layer`` first occurs; whether it does."""
    for name, layer in model.named_children():
        if layer is old_layer:
            model.add_module(name, new_layer)
            return True
        if replace_layer_recursive(layer, old_layer, new_layer):
            return True
    return False


def replace_all_layer_type_recursive(
    model: nn.Module, old_layer_type: type[nn.Module], new_layer: nn.Module
) -> None:
    """Put ``new_layer`` in the place of every layer of a type."""
    for name, layer in list(model.named_children()):
        if isinstance(layer, old_layer_type):
            model.add_module(name, new_layer)
        replace_all_layer_type_recursive(layer, old_layer_type, new_layer)


def find_layer_types_recursive(model: nn.Module, layer_types: Collection[type[nn.Module]]) -> list[nn.Module]:
    """The layers of exactly these types, in the order in which they are defined."""
    return find_layer_predicate_recursive(model, lambda layer: type(layer) in layer_types)


def find_layer_predicate_recursive(
    model: nn.Module, predicate: Callable[[nn.Module], bool]
) -> list[nn.Module]:
    """The layers for which ``predicate`` is true, in the order in which they are defined."""
    return [layer for layer in model.modules() if layer is not model and predicate(layer)]
