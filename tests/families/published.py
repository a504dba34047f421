"""Networks of other packages, each built from its configuration: nothing is downloaded."""

from __future__ import annotations

from torch import Tensor, nn, qint8

SWIN = {"img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2, 2), "num_heads": (2, 2, 4)}
HUB_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
}
DENSE = {"growth_rate": 8, "block_config": (2, 2, 2), "init_features": 16}


def torchvision(name: str, **options: object) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None, **{"num_classes": 5, **options})


def segmenter(name: str, **options: object) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None, weights_backbone=None, num_classes=3, **options)


def retinanet() -> nn.Module:
    from torchvision.models import resnet18
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    backbone = BackboneWithFPN(
        resnet18(weights=None), {"layer3": "0", "layer4": "1"}, [256, 512], out_channels=16
    )
    return RetinaNet(backbone, num_classes=3, min_size=96, max_size=96, anchor_generator=_anchors())


def _anchors() -> nn.Module:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    return AnchorGenerator(((16,), (32,), (64,)), ((1.0,),) * 3)


def torchvision_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=64, patch_size=8, num_layers=3, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=5
    )


def torchvision_swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer(
        patch_size=[4, 4],
        embed_dim=24,
        depths=[2, 2, 2],
        num_heads=[2, 2, 2],
        window_size=[4, 4],
        num_classes=5,
    )


def timm(name: str, **options: object) -> nn.Module:
    from timm import create_model

    return create_model(name, pretrained=False, num_classes=5, **options)


def nest() -> nn.Module:
    """Of 16 blocks of 16 tokens each at first."""
    from timm.models.nest import Nest

    sizes = {"embed_dims": (16, 24, 32), "num_heads": (2, 2, 2), "depths": (1, 1, 2)}
    return Nest(img_size=64, num_classes=5, **sizes)


def unfused(name: str, **options: object) -> nn.Module:
    """With attention written out, so that its probabilities are the output of a module."""
    model = timm(name, **options)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model


def transformers(name: str, **config: object) -> nn.Module:
    import transformers as hub

    kind = getattr(hub, name)
    return kind(kind.config_class(num_labels=5, **config))


def monai(name: str, **options: object) -> nn.Module:
    from monai.networks import nets

    return getattr(nets, name)(**options)


def monai_resnet_3d() -> nn.Module:
    return monai(
        "ResNet",
        block="basic",
        layers=[1, 1, 1, 1],
        block_inplanes=[8, 16, 24, 32],
        spatial_dims=3,
        n_input_channels=1,
        num_classes=5,
    )


def swin_unetr() -> nn.Module:
    """Returns a segmentation; at 96 px its first level is ``[n, 48, 48, 48]``, which can be read in two ways."""
    return monai(
        "SwinUNETR", in_channels=1, out_channels=2, feature_size=48, depths=(1, 1, 1, 1), spatial_dims=2
    )


def torchxrayvision() -> nn.Module:
    from torchxrayvision.models import DenseNet

    return DenseNet(weights=None, num_classes=5, growth_rate=8, block_config=(2, 2, 2), num_init_features=16)


def lora() -> nn.Module:
    """A vision transformer whose attention has low-rank adapters, as after fine-tuning with peft."""
    from peft import LoraConfig, get_peft_model

    model = timm("vit_tiny_patch16_224", img_size=64, patch_size=8, embed_dim=32, depth=3, num_heads=2)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["qkv"], init_lora_weights=False))
    assert isinstance(adapted, nn.Module)
    return adapted


def quantised(model: nn.Module) -> nn.Module:
    """Its linear layers hold 8-bit integers."""
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(model.eval(), {nn.Linear}, dtype=qint8)


def metatensor(images: Tensor) -> Tensor:
    from monai.data import MetaTensor

    return MetaTensor(images)
