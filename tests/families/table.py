"""The families of networks that are tried, each with the layer and layout to use: tests and a page are made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tests.families import published as p
from tests.families import written as w
from tests.families.oracle import Score
from xaimed_core import METHODS, ChannelsLast, Tokens
from xaimed_core.layout import Layout
from xaimed_core.methods import ChannelProbe

SHARED = tuple(n for n, method in METHODS.items() if method.of_one_pass and method.slope != "shapley")
"""Methods of one forward. ShapleyCAM is apart: its forward has attention written out, which would change the others."""
EVERY = (*SHARED, *(name for name, method in METHODS.items() if isinstance(method.kind, ChannelProbe)))


PACKAGES = {
    "timm": ("timm",),
    "transformers": ("transformers",),
    "MONAI 2-D": ("monai",),
    "MONAI 3-D": ("monai",),
    "torchxrayvision": ("torchxrayvision",),
    "LoRA (peft)": ("peft", "timm"),
}
"""What a family needs beside torch and torchvision."""


@dataclass(frozen=True)
class Row:
    """A network and how to explain it.

    images: their shape. layer, layout: what is explained. chosen: the layer that is chosen where none is given, with
    ``layout="infer"`` where the layer holds tokens. target: a class, or a score of one image's output row; None where
    methods need none. wrap: what the images come in. exact: what the oracle computes in. needs: packages of the dev
    extra. note: for the page.
    """

    family: str
    name: str
    build: Callable[[], nn.Module]
    images: tuple[int, ...]
    layer: str
    layout: Layout | None = None
    chosen: str = ""
    methods: tuple[str, ...] = EVERY
    target: int | Score | None = 1
    output: int | str | None = None
    wrap: Callable[[Tensor], Tensor] | None = None
    exact: torch.dtype = torch.float64
    note: str = ""

    def __str__(self) -> str:
        return f"{self.family} {self.name}"

    @property
    def needs(self) -> tuple[str, ...]:
        return PACKAGES.get(self.family, ())


RGB = (2, 3, 64, 64)
GRID8, GRID4 = Tokens((8, 8), 1), Tokens((4, 4), 1)
TINY_VIT = {"img_size": 64, "patch_size": 8, "embed_dim": 48, "num_heads": 2}


def inside(row: Tensor) -> Tensor:
    """The score of a segmentation: the mean of class 1 over all pixels."""
    return row[1].mean()


def itself(row: Tensor) -> Tensor:
    """The score of an output that is one number."""
    return row


# fmt: off
TABLE: tuple[Row, ...] = (
    Row("torchvision", "resnet18", lambda: p.torchvision("resnet18"), RGB, "layer4", chosen="layer4"),
    Row("torchvision", "densenet121", lambda: p.torchvision("densenet121"), RGB, "features", chosen="features",
        note="the layer's own output, before the ReLU that the network applies in place"),
    Row("torchvision", "efficientnet_b0", lambda: p.torchvision("efficientnet_b0"), RGB, "features",
        chosen="features"),
    Row("torchvision", "convnext_tiny", lambda: p.torchvision("convnext_tiny"), RGB, "features",
        chosen="features"),
    Row("torchvision", "swin_t", p.torchvision_swin, RGB, "features.5.1.norm1", ChannelsLast(),
        "features.5.1.norm1"),
    Row("torchvision", "vit", p.torchvision_vit, RGB, "encoder.layers.encoder_layer_2.ln_1", GRID8,
        "encoder.layers.encoder_layer_2.ln_1"),
    Row("torchvision", "googlenet", lambda: p.torchvision("googlenet", init_weights=False, aux_logits=True),
        RGB, "inception5b", chosen="inception5b"),
    Row("segmentation", "lraspp_mobilenet_v3_large", lambda: p.segmenter("lraspp_mobilenet_v3_large"), RGB,
        "backbone.16", chosen="classifier.cbr", target=inside,
        note="the target is a score of the segmentation, e.g. `lambda row: row[1].mean()`"),
    Row("segmentation", "fcn_resnet50", lambda: p.segmenter("fcn_resnet50", aux_loss=True), (1, 3, 48, 48),
        "backbone.layer4", chosen="classifier.3", target=inside,
        note="the auxiliary head is never chosen; the output is taken by its name"),
    Row("detection", "retinanet", p.retinanet, (2, 3, 96, 96), "backbone.body.layer4", methods=("eigencam",),
        target=None,
        note="eigencam needs no score; for the others give `output=`, a function that makes scores of the boxes"),
    Row("timm", "tf_efficientnet_lite0", lambda: p.timm("tf_efficientnet_lite0"), RGB, "bn2", chosen="bn2"),
    Row("timm", "vit", lambda: p.timm("vit_tiny_patch16_224", **TINY_VIT), RGB, "blocks.11.norm1", GRID8,
        "blocks.11.norm1"),
    Row("timm", "deit distilled", lambda: p.timm("deit_tiny_distilled_patch16_224", **TINY_VIT), RGB,
        "blocks.11.norm1", Tokens((8, 8), 2), "blocks.11.norm1"),
    Row("timm", "swinv2", lambda: p.timm("swinv2_tiny_window8_256", **p.SWIN), RGB, "layers.2.blocks.1.norm1",
        ChannelsLast(), "layers.2.blocks.1.norm1"),
    Row("timm", "cait", lambda: p.unfused("cait_xxs24_224", img_size=64, depth=4, embed_dim=48, num_heads=2),
        RGB, "blocks_token_only.1.norm1", GRID4, "blocks_token_only.1.norm1",
        note="attention written out: its probabilities look like an image and are never chosen"),
    Row("timm", "nest", p.nest, RGB, "norm", ChannelsLast(), "norm",
        note="inside its levels places lie in blocks, which no layout reads: refused"),
    Row("timm", "maxvit", lambda: p.timm("maxvit_rmlp_pico_rw_256", img_size=64), RGB, "norm", chosen="norm"),
    Row("timm", "coatnet", lambda: p.timm("coatnet_pico_rw_224", img_size=64), RGB, "norm", chosen="norm"),
    Row("timm", "convnextv2_atto", lambda: p.timm("convnextv2_atto"), RGB, "stages", chosen="norm_pre"),
    Row("timm", "mobilevit_xxs", lambda: p.timm("mobilevit_xxs"), RGB, "final_conv", chosen="final_conv"),
    Row("timm", "efficientvit_b0", lambda: p.timm("efficientvit_b0"), RGB, "stages", chosen="head.in_conv"),
    Row("transformers", "ViT", lambda: p.transformers("ViTForImageClassification", intermediate_size=64,
        **p.HUB_VIT), RGB, "vit.layers.2.layernorm_before", GRID8, "vit.layers.2.layernorm_before"),
    Row("transformers", "Swin", lambda: p.transformers("SwinForImageClassification", image_size=64,
        embed_dim=16, depths=[2, 2], num_heads=[2, 2], window_size=4), RGB,
        "swin.encoder.layers.1.blocks.1.layernorm_before", Tokens((8, 8), 0),
        "swin.encoder.layers.1.blocks.1.layernorm_before"),
    Row("transformers", "Dinov2", lambda: p.transformers("Dinov2ForImageClassification", **p.HUB_VIT), RGB,
        "dinov2.encoder.layer.2.norm1", GRID8, "dinov2.encoder.layer.2.norm1"),
    Row("transformers", "ConvNextV2", lambda: p.transformers("ConvNextV2ForImageClassification",
        hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 2, 1]), RGB, "convnextv2.encoder.stages.3",
        chosen="convnextv2.encoder.stages.3"),
    Row("transformers", "Segformer", lambda: p.transformers("SegformerForImageClassification", hidden_sizes=[8,
        16, 24, 32], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2]), (2, 3, 96, 96),
        "segformer.stages.3.blocks.0.layernorm_before", Tokens((3, 3), 0),
        note="9 tokens of a 96 px image could be 3 x 3, or 2 x 2 and registers: its own operations tell"),
    Row("MONAI 2-D", "DenseNet121", lambda: p.monai("DenseNet121", spatial_dims=2, in_channels=1,
        out_channels=5, **p.DENSE), (2, 1, 64, 64), "features", chosen="class_layers.relu", wrap=p.metatensor,
        note="images are MONAI's MetaTensor"),
    Row("MONAI 3-D", "ResNet", p.monai_resnet_3d, (2, 1, 24, 48, 48), "layer4", chosen="layer4",
        wrap=p.metatensor, note="a volume; the map is a volume"),
    Row("MONAI 2-D", "SwinUNETR", p.swin_unetr, (1, 1, 96, 96), "swinViT.layers1.0.blocks.0.norm1",
        ChannelsLast(), chosen="decoder1", methods=SHARED, target=inside,
        note="48 features at 96 px: `[n, 48, 48, 48]` can be read in two ways; the norm that makes it decides"),
    Row("torchxrayvision", "DenseNet", p.torchxrayvision, (2, 1, 224, 224), "features", chosen="features"),
    Row("LoRA (peft)", "vit", p.lora, RGB, "base_model.model.blocks.2.norm1", GRID8,
        "base_model.model.blocks.2.norm1", note="the adapters take part; nothing needs to be merged"),
    Row("quantised head", "torch.ao, dynamic", lambda: p.quantised(w.Pooled(2, 3, 8, 12)), (1, 3, 64, 64),
        "features", methods=("eigencam", "ablationcam"), exact=torch.float32,
        note="it has no gradient; it chooses its scale by the batch, so that images are run one by one"),
    Row("torch.compile", "whole", lambda: torch.compile(w.Pooled(2, 3, 8, 12), backend="eager"), RGB,
        "features", chosen="norm", note="the network inside the wrapper is run"),
    Row("torch.compile", "part", w.PartlyCompiled, RGB, "stem", chosen="middle._orig_mod",
        note="the compiled part runs uncompiled"),
    Row("multi-input", "side input per image", lambda: w.WithSideInput(2), RGB, "features", chosen="features",
        note="a wrapper holds the second input; every forward keeps the batch's order and count"),
    Row("multi-output", "(features, logits)", w.FeaturesAndLogits, RGB, "features", chosen="features",
        output=1, note="`output=1` says which output holds the scores"),
    Row("one number", "regression, `[n]`", w.OneNumber, RGB, "features", chosen="features", target=itself,
        note="there are no classes: the target is a callable, `lambda row: row`"),
    Row("video", "CNN + GRU", w.FramesThenGRU, (2, 4, 24, 24), "features", chosen="features", methods=SHARED,
        note="frames are folded into the batch: a map for each frame, `[n t, h, w]`"),
    Row("video", "ViT per frame", w.FramesThroughTransformer, (2, 3, 4, 32, 32), "block.norm1", GRID4,
        methods=SHARED, note="as above, with tokens for places"),
    Row("signals", "1-D CNN", lambda: w.Pooled(1, 2, 8, 12, 16), (2, 2, 128), "features", chosen="norm"),
    Row("spectrogram", "64 x 512, layer 4 x 128", w.Spectrogram, (2, 1, 64, 512), "features",
        chosen="features", note="strides differ by axis"),
    Row("volume", "anisotropic 3-D CNN", lambda: w.Pooled(3, 1, 8, 12), (2, 1, 8, 48, 32), "features",
        chosen="norm"),
    Row("Keras-style head", "permute and flatten", w.KerasHead, (2, 3, 32, 32), "features", chosen="features"),
)
# fmt: on
"""One row per network; the page and every test are made of these."""
