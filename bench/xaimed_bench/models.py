"""The networks that benches, tests and the command line explain.

Seeded weights stand in for trained ones, so nothing is downloaded. Weights as they come from an initialiser do
not: activations vanish (EfficientNet-B0: 5e-14), logits sit near 0 and every image gets the same class, so maps
are empty and comparing them proves nothing. `build_model` therefore calibrates on seeded phantoms.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, final

import torch
from torch import Tensor, nn

from xaimed_bench.checkpoints import Checkpoint, load_checkpoint, read_checkpoint
from xaimed_bench.data import IMAGENET, PHANTOM_KINDS, Normalisation, phantoms
from xaimed_core.numbers_given import is_whole

LayerRole = Literal["last", "earlier", "before"]
TRAINED_LOGIT = 10.0
"""The logit that calibration gives the median image: the size that classifiers of a few classes have after training."""


@final
@dataclass(frozen=True)
class ModelSpec:
    """One architecture of torchvision or timm and the layers at which it is explained.

    ``layers``: dotted names; "last" is the layer the literature explains, "earlier" one before it with a finer
    grid, "before" the last convolution ahead of its BatchNorm and ReLU, where values have both signs.
    ``nonnegative``: the roles whose output is a ReLU's, or its maximum or mean: there grad-cam's AblationCAM
    ablates to zero (elsewhere to its minimum - 1e7). ``paper``: whether arXiv 2503.08420 measured it.
    ``normalisation``: of the images that its ImageNet weights were trained on. ``library``: where it is built.
    """

    name: str
    title: str
    layers: Mapping[LayerRole, str]
    nonnegative: frozenset[LayerRole] = frozenset()
    paper: bool = False
    normalisation: Normalisation = IMAGENET
    library: Literal["torchvision", "timm"] = "torchvision"

    def build(self, classes: int) -> nn.Module:
        """The bare architecture with its library's own initialisation from the global random state."""
        if self.library == "timm":
            import timm

            return timm.create_model(self.name, num_classes=classes)
        from torchvision import models  # loads PIL, so not at import

        constructor = cast("Callable[..., nn.Module]", getattr(models, self.name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # announces nothing that a caller could act on
            return constructor(weights=None, num_classes=classes)


_BOTH: frozenset[LayerRole] = frozenset(("last", "earlier"))

# "last" follows grad-cam's README: layer4[-1] for ResNet, features[-1] for VGG (its last max pool, of a ReLU) and
# DenseNet (a BatchNorm; the ReLU after it is functional and in place), norm1 of the last block for ViT and Swin.
# torchvision's EfficientNet, ConvNeXt and MobileNet end their convolutional part as features[-1] as well.
MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("resnet50", "ResNet-50", {"last": "layer4.2", "earlier": "layer3.5"}, _BOTH, paper=True),
        ModelSpec(
            "densenet121",
            "DenseNet-121",
            {"last": "features.norm5", "earlier": "features.transition3.relu"},
            frozenset(("earlier",)),
            paper=True,
        ),
        ModelSpec("vgg16", "VGG-16", {"last": "features.30", "earlier": "features.23"}, _BOTH, paper=True),
        ModelSpec(
            "efficientnet_b0", "EfficientNet-B0", {"last": "features.8", "earlier": "features.7"}, paper=True
        ),
        ModelSpec("resnet18", "ResNet-18", {"last": "layer4.1", "earlier": "layer3.1"}, _BOTH),
        ModelSpec("convnext_tiny", "ConvNeXt-T", {"last": "features.7", "earlier": "features.5"}),
        ModelSpec(
            "vit_b_16",
            "ViT-B/16",
            {
                "last": "encoder.layers.encoder_layer_11.ln_1",
                "earlier": "encoder.layers.encoder_layer_8.ln_1",
            },
        ),
        ModelSpec("swin_t", "Swin-T", {"last": "features.7.1.norm1", "earlier": "features.5.5.norm1"}),
        ModelSpec("mobilenet_v3_small", "MobileNetV3-S", {"last": "features.12", "earlier": "features.8"}),
        ModelSpec(
            "tf_efficientnet_lite0",
            "EfficientNet-Lite0",
            {"last": "bn2", "earlier": "blocks.5.0.bn2", "before": "conv_head"},
            _BOTH,
            normalisation=Normalisation(
                mean=(127 / 255, 127 / 255, 127 / 255), std=(128 / 255, 128 / 255, 128 / 255)
            ),
            library="timm",
        ),
    )
}


def build_model(
    name: str,
    *,
    classes: int | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    calibrate: bool = True,
) -> nn.Module:
    """The network ``name`` of `MODELS` in eval mode, float32 on the CPU.

    Weights come from ``seed`` and, with ``calibrate``, are made to behave like trained ones (`calibrate_on_phantoms`);
    or they come from ``checkpoint``, a file with a state dict, read without running code in it (`read_checkpoint`).
    ``classes`` None means as many as the checkpoint's classifier has, and 4 without one. Where the checkpoint names
    its classes, ``model.classes`` holds the names, in the order of the outputs.
    The global random state is unchanged. Raises FileNotFoundError for a missing checkpoint, ValueError for an unknown
    name or a checkpoint that does not fit (`load_checkpoint`).
    """
    if name not in MODELS:
        raise ValueError(f"no model is called {name!r}; choose one of {', '.join(MODELS)}")
    if classes is not None and not (is_whole(classes) and classes >= 1):
        raise ValueError(f"a classifier of {classes!r} classes was asked for; give 1 or more")
    with seeded(seed):
        if checkpoint is not None:
            return _build_from(read_checkpoint(checkpoint), name, classes)
        model = MODELS[name].build(classes or 4).eval()
        if calibrate:
            calibrate_on_phantoms(model)
    return model


def _build_from(checkpoint: Checkpoint, name: str, classes: int | None) -> nn.Module:
    with torch.device("meta"):  # the classifier's name, at no cost
        bare = MODELS[name].build(1)
    head = classifier_name(bare)
    model = MODELS[name].build(classes or checkpoint.class_count(head) or 4).eval()
    load_checkpoint(model, head, checkpoint)
    if checkpoint.classes:
        vars(model)["classes"] = checkpoint.classes
    return model


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """The CPU's random state seeded inside and restored after; those of other devices are not touched."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


# ---------------------------------------------------------------------------------------------- calibration
@torch.no_grad()
def calibrate_on_phantoms(model: nn.Module, *, per_kind: int = 4, size: int = 224) -> None:
    """Give seeded weights the statistics that training gives, in place, from one forward over phantoms.

    BatchNorm takes the mean and variance of what it sees. In networks without BatchNorm every linear and
    convolution is scaled to outputs of unit spread (layer-sequential unit variance, Mishkin & Matas 2016,
    arXiv 1511.06422), and ConvNeXt's layer scale starts at 1 instead of 1e-6, which would silence its blocks.
    A classifier of zeros (torchvision's ViT) is drawn first, from the global random state.
    The classifier is then centred, over classes and over images, and scaled so that the largest logit of the median
    image is `TRAINED_LOGIT`.
    """
    images = _calibration_images(per_kind, size)
    head = classifier_of(model)
    for name, parameter in model.named_parameters():
        if name.endswith("layer_scale"):
            parameter.fill_(1.0)
    if not head.weight.any():  # torchvision's ViT starts with a classifier of zeros
        nn.init.normal_(head.weight, std=1 / math.sqrt(head.in_features))
    seen: list[Tensor] = []
    with head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        if norms := [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]:
            _measure_batchnorms(model, norms, images)
        else:
            _scale_to_unit_variance(model, images)
    _shape_classifier(head, seen[0])


def _calibration_images(per_kind: int, size: int) -> Tensor:
    """Phantoms of every kind, every other one at twice the contrast.

    Without the strong contrasts, which real scans have (a white skull, a CT among MRIs), random networks answer
    these with logits in the hundreds and one class for all.
    """
    pixels = torch.cat([phantoms(kind, per_kind, size=size).pixels for kind in PHANTOM_KINDS])
    pixels[1::2] = (2 * pixels[1::2] - 0.5).clamp(0, 1)
    return IMAGENET.apply(pixels)


def classifier_of(model: nn.Module) -> nn.Linear:
    """The last linear layer, which in every network of `MODELS` gives the logits."""
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if not linears:
        raise ValueError(f"{type(model).__name__} has no linear layer that could be its classifier")
    return linears[-1]


def classifier_name(model: nn.Module) -> str:
    """The dotted name of `classifier_of`."""
    last = classifier_of(model)
    return next(name for name, module in model.named_modules() if module is last)


def _measure_batchnorms(model: nn.Module, norms: list[nn.BatchNorm2d], images: Tensor) -> None:
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of what is seen, here one batch
        norm.train()
    model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _scale_to_unit_variance(model: nn.Module, images: Tensor) -> None:
    def scale(module: nn.Linear | nn.Conv2d, _: Any, output: Tensor) -> Tensor:
        spread = output.std()
        module.weight.div_(spread)
        if module.bias is not None:
            module.bias.div_(spread)
        return output / spread

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                hooks.enter_context(module.register_forward_hook(scale))
        model(images)


def _shape_classifier(head: nn.Linear, features: Tensor) -> None:
    """Centre and scale the classifier, given the features ``[n, in]`` that the phantoms gave it.

    Its weights, not its bias, forget what all images and all classes share. A map shows weights times activations, so
    that the top logit, which then is never negative, has evidence: with a centring bias many maps are empty.
    """
    common = features.mean(0)
    head.weight.sub_((head.weight @ common)[:, None] * (common / common.square().sum()))
    if head.out_features > 1:
        head.weight.sub_(head.weight.mean(0))
    largest = (features @ head.weight.T).abs().max(1).values
    head.weight.mul_(TRAINED_LOGIT / largest.median().clamp_min(1e-12))
    head.bias.zero_()
