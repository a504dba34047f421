"""As ``pytorch_grad_cam.ablation_layer``: says where a layer's output holds the channels that AblationCAM removes."""

from __future__ import annotations

from xaimed_core.compat.refusals import refused


class AblationLayer:
    """Channels along axis 1, ``[n, channels, *positions]``."""

    channel_dim = 1


class AblationLayerVit(AblationLayer):
    """Channels along the last axis: ``[n, tokens, channels]`` of a ViT, ``[n, height, width, channels]`` of a Swin."""

    channel_dim = -1


_DIMS = {layer.__name__: layer.channel_dim for layer in (AblationLayer, AblationLayerVit)}


def channel_dim_of(ablation_layer: object) -> int:
    """The axis that holds the channels, for an ablation layer of this module or of grad-cam's own.

    Raises NotMirroredError for any other, whose ``__call__`` would never run here.
    """
    kind = type(ablation_layer)
    if kind.__module__.rpartition(".")[2] == "ablation_layer" and kind.__name__ in _DIMS:
        return _DIMS[kind.__name__]
    table = {kind.__name__: "channels are set to 0 by the engine; use AblationLayer or AblationLayerVit"}
    raise refused(kind.__name__, __name__, table)


def __getattr__(name: str) -> object:
    raise refused(
        name, __name__, {"AblationLayerFasterRCNN": "detection models return no single score per image"}
    )
