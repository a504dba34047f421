"""Every bad input to the Python API gets one plain sentence, and never a map: the one table of what was tried."""

# ruff: noqa: E501 # a table: one row a line

import copy
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.core.conftest import AT_ONE_LAYER, OF_ANY_NETWORK, fitting
from xaimed_bench.models import build_model
from xaimed_core import (
    METHODS,
    METRICS,
    ChannelsFirst,
    ChannelsLast,
    Tokens,
    evaluate,
    explain,
    hybrid,
    road,
    road_table,
)
from xaimed_core import compat as cam
from xaimed_core.compat.metrics import cam_mult_image, perturbation_confidence
from xaimed_core.compat.metrics import road as cam_road
from xaimed_core.compat.metrics.arcc import ARCC
from xaimed_core.compat.sobel_cam import sobel_cam
from xaimed_core.compat.utils import image as pictures
from xaimed_core.compat.utils import model_targets, reshape_transforms, svd_on_activations
from xaimed_core.factorisation import factorise
from xaimed_core.faithfulness import masks_of
from xaimed_core.targets import scores_in
from xaimed_kernels.impute import impute

ROOMS = ("xaimed_core", "xaimed_kernels", "xaimed_bench")
ALLOWED = (TypeError, ValueError, IndexError, cam.NotMirroredError)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.late = nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.late(self.block(images).relu()).relu().mean((2, 3)))


class Returns(nn.Module):
    """A network that returns whatever is made of its layer ``block``, which ``aside`` sees too."""

    def __init__(self, made: Callable[[Tensor], Any], aside: Callable[[Tensor], Any] | None = None) -> None:
        super().__init__()
        self.block, self.made = nn.Conv2d(3, 4, 3, padding=1), made
        self.aside = Aside(aside or (lambda y: y))

    def forward(self, images: Tensor) -> Any:
        y = self.block(images)
        self.aside(y)
        return self.made(y)


class Aside(nn.Module):
    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.made = made

    def forward(self, y: Tensor) -> Any:
        return self.made(y)


def pooled(y: Tensor) -> Tensor:
    return y.mean((2, 3))


def filled(model: nn.Module, value: float) -> nn.Module:
    model.get_parameter("late.weight").data.fill_(value)
    return model


with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
    warnings.simplefilter("ignore")  # torch.jit and torch.export announce their own end
    torch.manual_seed(0)
    NET, OTHER = Small().eval(), Small().eval()
    X = torch.randn(3, 3, 20, 24)
    TRACED = torch.jit.trace(NET, X)
    EXPORTED = torch.export.export(NET, (X,))
    SCRIPT = torch.jit.script(nn.ReLU())
    SCRIPT_INSIDE = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), SCRIPT, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    NESTED = torch.nested.nested_tensor([X[0], X[1]])
    QUANTISED = torch.quantize_per_tensor(X, 0.1, 0, torch.quint8)
META = Small().to("meta")
LAZY = nn.Sequential(nn.LazyConv2d(4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
E = explain(NET, X, "xgradcam", "block", targets=1)
ONE_CLASS = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1))
TWO_METHODS = explain(NET, X, ("xgradcam", "gradcam"), "block")
ALL_CLASSES = explain(NET, X, "xgradcam", "block", targets="all")
M, N = E.maps["xgradcam"], E.maps["xgradcam"].numpy()
KEEP = M > 0
NAN, PICTURE, SCENE = torch.nan, Image.new("RGB", (24, 20)), np.ones((20, 24, 3))
ONE_HOT = torch.eye(5)[:3]
FIVE = list("abcde")

# fmt: off
# one row a line: what was changed in a call that works, the exception, and words that it must contain
MODELS: dict[str, tuple[Any, type[Exception], str]] = {  # for explain and for road
    "path": ("resnet50.pt", TypeError, "model is the path or name 'resnet50.pt'; build the network, load its weights"),
    "Path": (Path("net.pt"), TypeError, "model is the path or name 'net.pt'"),
    "state dict": (NET.state_dict(), TypeError, "model is a dict, perhaps a state dict; build the network"),
    "class": (Small, TypeError, "model is the class Small, not a network; pass an instance, Small(...)"),
    "numpy": (np.zeros(3), TypeError, "model is a ndarray, whose layers cannot be looked into; pass a torch.nn.Module"),
    "None": (None, TypeError, "model is a NoneType"),
    "lambda": (lambda x: x, TypeError, "model is a function"),
    "list": ([NET], TypeError, "model is a list"),
    "tensor": (X, TypeError, "model is a Tensor"),
    "exported program": (EXPORTED, TypeError, "model is a ExportedProgram"),
    "optimizer": (torch.optim.SGD(NET.parameters()), TypeError, "model is a SGD"),
    "list of modules": (nn.ModuleList([NET]), TypeError, "model is a ModuleList without a forward of its own"),
    "without a forward": (nn.Module(), TypeError, "model is a Module without a forward of its own"),
    "lazy": (LAZY, ValueError, "0.weight has no shape yet; run the model once"),
    "on meta": (META, ValueError, "block.weight is on the meta device and holds no numbers; load the weights first"),
    "bfloat16": (Small().eval().bfloat16(), ValueError, "the model's weights torch.bfloat16; give images.to(torch.bfloat16)"),
    "float64": (Small().eval().double(), ValueError, "the model's weights torch.float64; give images.to(torch.float64)"),
    "returns None": (Returns(lambda y: None), TypeError, "the model returned NoneType, in which no scores were found"),
    "returns text": (Returns(lambda y: "a"), TypeError, "the model returned str, in which no scores"),
    "returns numpy": (Returns(lambda y: y.detach().numpy()), TypeError, "the model returned ndarray"),
    "returns detections": (Returns(lambda y: [{"boxes": y[0]}] * 3), TypeError, "3 mappings, one for each image, as detectors do"),
    "returns two": (Returns(lambda y: (pooled(y), pooled(y))), ValueError, "2 tensors that could be the scores: output[0] (3, 4)"),
    "returns a scalar": (Returns(lambda y: y.mean()), ValueError, "the model gave () for 3 images; its first axis must be the batch"),
    "returns [n]": (Returns(lambda y: y.mean((1, 2, 3))), ValueError, "class targets need an output [n, classes], got (3,)"),
    "returns maps": (Returns(lambda y: y), ValueError, "class targets need an output [n, classes], got (3, 4, 20, 24)"),
    "returns fewer": (Returns(lambda y: pooled(y)[:1]), ValueError, "the model gave (1, 4) for 3 images"),
    "returns numbers": (Returns(lambda y: pooled(y).argmax(1)), ValueError, "class targets need an output [n, classes], got (3,)"),
    "returns complex": (Returns(lambda y: pooled(y) + 1j), TypeError, "the model gave torch.complex64, and a score is a real number"),
    "returns no class": (Returns(lambda y: pooled(y)[:, :0]), ValueError, "the model gave scores of no class: (3, 0)"),
}
IMAGES: dict[str, tuple[Any, type[Exception], str]] = {  # for explain and for road
    "uint8": ((X * 255).to(torch.uint8), TypeError, "floating point as the model expects them, got torch.uint8; convert and normalise"),
    "int64": (X.long(), TypeError, "got torch.int64"),
    "bool": (X > 0, TypeError, "got torch.bool"),
    "complex": (X + 1j, TypeError, "got torch.complex64"),
    "quantised": (QUANTISED, TypeError, "got torch.quint8"),
    "float8": (X.to(torch.float8_e4m3fn), TypeError, "got torch.float8_e4m3fn"),
    "numpy": (X.numpy(), TypeError, "images must be a tensor [n, channels, *size] as the model reads them, got ndarray; convert with torch.from_numpy"),
    "list": (list(X), TypeError, "got list; put them together with torch.stack(images)"),
    "PIL": (PICTURE, TypeError, "got Image; convert with torch.from_numpy(numpy.array(images))"),
    "path": ("scan.png", TypeError, "got str; read the file"),
    "None": (None, TypeError, "got NoneType; load them first"),
    "dict": ({"image": X}, TypeError, "got dict; load them first"),
    "loader": (iter([X]), TypeError, "got list_iterator; load them first"),
    "float64": (X.double(), ValueError, "the images are torch.float64, the model's weights torch.float32; give images.to(torch.float32)"),
    "float16": (X.half(), ValueError, "the images are torch.float16"),
    "1 channel": (X[:, :1], ValueError, "the model's first convolution reads 3 channels, the images have 1"),
    "4 channels": (torch.randn(3, 4, 20, 24), ValueError, "reads 3 channels, the images have 4"),
    "no batch axis": (X[0], ValueError, "got (3, 20, 24); add the batch axis with images[None]"),
    "sparse": (X.to_sparse(), TypeError, "sparse or nested tensor; give a dense one"),
    "nested": (NESTED, TypeError, "sparse or nested tensor"),
    "mkldnn": (X.to_mkldnn(), TypeError, "sparse or nested tensor"),
    "meta": (X.to("meta"), ValueError, "the images are on the meta device and hold no numbers"),
    "no image": (X[:0], ValueError, "the batch is empty: images have shape (0, 3, 20, 24)"),
    "no pixel": (X[..., :0], ValueError, "the batch is empty"),
}
TARGETS: dict[str, tuple[Any, type[Exception], str]] = {  # for explain and for road
    "out of range": (5, IndexError, "target [5] is out of range: the model has the classes 0 to 4"),
    "negative": ([-1, 0, 0], IndexError, "target [-1] is out of range"),
    "huge": (10**30, IndexError, "is out of range"),
    "too few": ([0, 1], ValueError, "2 targets for 3 images; give one per image, or one alone for all"),
    "none": ([], ValueError, "0 targets for 3 images"),
    "fractions": ([2.7, 1.9, 0.0], TypeError, "targets must be None, whole class numbers, class names or callables on one output row; got 2.7"),
    "float": (1.0, TypeError, "got 1.0"),
    "bools": ([True, False, True], TypeError, "got True"),
    "numpy floats": (np.array([1.0, 2.0, 0.0]), TypeError, "got 1.0"),
    "None inside": ([None, 0, 1], TypeError, "got None"),
    "object": (object(), TypeError, "got <object object"),
    "digits": (["2", "1", "0"], TypeError, "'2' is no class number, and this model names no classes; give class numbers"),
    "name": ("cat", TypeError, "'cat' is no class number, and this model names no classes"),
    "float tensor": (torch.tensor([0.5, 1, 2]), TypeError, "whole class numbers, got a torch.float32 tensor"),
    "bool tensor": (torch.tensor([True, False, True]), TypeError, "got a torch.bool tensor"),
    "set": ({0, 1, 2}, TypeError, "targets must be in the images' order, got a set; give a list"),
    "mapping": ({0: 1}, TypeError, "got a dict; give a list"),
    "mixed": ([0, lambda row: row[0], 1], TypeError, "all classes or all callables"),
    "class of targets": (nn.Linear, TypeError, "a target is the class Linear; give an instance, Linear(...)"),
    "classes of targets": ([nn.Linear] * 3, TypeError, "a target is the class Linear"),
    "makes a row": (lambda row: row[:2], ValueError, "a target must give one number per image, got shape (2,); reduce it"),
    "makes a number": (lambda row: 1.0, TypeError, "a target must give a tensor with one number, got float"),
    "makes None": (lambda row: None, TypeError, "a target must give a tensor with one number, got NoneType"),
    "makes a complex": (lambda row: (row + 1j).sum(), TypeError, "a target must give a real number, got torch.complex64"),
}
EXPLAIN: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "model: traced": ({"model": TRACED}, TypeError, "traced or scripted by torch.jit"),
    "model: exported module": ({"model": EXPORTED.module()}, TypeError, "an exported program, in whose graph no layers are left; explain the network it was made from"),
    "model: NaN behind the layer": ({"model": filled(Small().eval(), NAN)}, ValueError, "the score is NaN or infinite, which the model computed behind the layer"),
    "model: detached": ({"model": Returns(lambda y: pooled(y).detach()), "layer": "block"}, ValueError, "does not depend on layer block"),
    "model: no layer": ({"model": nn.Flatten(), "layer": None}, ValueError, "layer"),
    "images: NaN": ({"images": X * NAN}, ValueError, "no map of xgradcam could be made: the images hold NaN or infinite values"),
    "images: infinite": ({"images": X * torch.inf}, ValueError, "the images hold NaN or infinite values"),
    "images: no axes": ({"images": torch.tensor(1.0)}, ValueError, "add the batch axis"),
    "images: volume": ({"images": torch.randn(2, 3, 4, 20, 24)}, ValueError, "convolutions read [n, channels, height, width], the images are (2, 3, 4, 20, 24)"),
    "images: channels last": ({"images": X.permute(0, 2, 3, 1)}, ValueError, "the images have 20: (3, 20, 24, 3) is not [n, 3, ...]"),
    "layer: misspelt": ({"layer": "blok"}, ValueError, "the model has no layer 'blok'; did you mean block?"),
    "layer: unlike any": ({"layer": "qqqq"}, ValueError, "list(dict(model.named_modules())) shows the names"),
    "layer: parameter's name": ({"layer": "block.weight"}, ValueError, "did you mean block?"),
    "layer: one wrong": ({"layer": ["block", "lat"]}, ValueError, "the model has no layer 'lat'; did you mean late?"),
    "layer: of another model": ({"layer": OTHER.block}, ValueError, "the layer Conv2d given is not a module of this model"),
    "layer: of a copy": ({"layer": copy.deepcopy(NET).block}, ValueError, "give its dotted name"),
    "layer: none": ({"layer": []}, ValueError, "no layer was given"),
    "layer: number": ({"layer": 3}, TypeError, "a module of the model, its dotted name, or a list of these, got int"),
    "layer: number inside": ({"layer": ["block", 3]}, TypeError, "got int"),
    "layer: mapping": ({"layer": {"block": 1}}, TypeError, "got dict"),
    "layer: weight": ({"layer": NET.block.weight}, TypeError, "got Parameter"),
    "layer: class": ({"layer": nn.Conv2d}, TypeError, "got type"),
    "layer: without places": ({"layer": "head"}, ValueError, "(3, 5) is not [n, channels, *positions]"),
    "layer: compiled": ({"model": SCRIPT_INSIDE, "layer": "1"}, TypeError, "layer 1 is scripted by torch.jit"),
    **{
        f"layer: returns {what}": ({"model": Returns(pooled, made), "layer": "aside"}, ValueError, words)
        for what, made, words in (
            ("a tuple", lambda y: (y, y), "layer aside returned tuple, not a tensor of real numbers"),
            ("None", lambda y: None, "layer aside returned NoneType"),
            ("whole numbers", lambda y: y.int(), "layer aside returned torch.int32"),
            ("complex numbers", lambda y: y + 1j, "layer aside returned torch.complex64"),
            ("numpy", lambda y: y.detach().numpy(), "layer aside returned ndarray"),
            ("what nobody reads", lambda y: y * 2, "does not depend on layer aside"),
        )
    },
    "layout: text": ({"layout": "channels_last"}, TypeError, 'layout must be None, "infer", Tokens(grid, prefix), ChannelsLast() or ChannelsFirst(), got'),
    "layout: class": ({"layout": ChannelsLast}, TypeError, "layout must be None"),
    "layout: number": ({"layout": 3}, TypeError, "got 3"),
    "layout: function": ({"layout": lambda x: x}, TypeError, "layout must be None"),
    "layout: other tokens": ({"layout": Tokens((5, 5))}, ValueError, "describes 0 + 25 tokens [n, tokens, channels], the layer gave (3, 6, 10, 12)"),
    "layout: no places": ({"layer": "head", "layout": ChannelsFirst()}, ValueError, "ChannelsFirst() needs positions beside channels, the layer gave (3, 5)"),
    "targets: not differentiable": ({"targets": lambda row: row.detach().sum()}, ValueError, "does not depend"),
    "targets: ragged": ({"targets": [[0, 1], [0], [1]]}, ValueError, "every image needs equally many classes, at least one, got [2, 1, 1]"),
    "targets: empty rows": ({"targets": [[], [], []]}, ValueError, "at least one"),
    "targets: rows of one image": ({"targets": [[0, 1]]}, ValueError, "1 targets for 3 images"),
    "targets: one-hot": ({"targets": ONE_HOT}, TypeError, "whole class numbers, got a torch.float32 tensor"),
    "targets: whole one-hot": ({"targets": ONE_HOT.long()}, ValueError, "names a class of one image twice; give each once, and of one-hot rows the numbers: targets.argmax(1)"),
    "targets: one-hot lists": ({"targets": ONE_HOT.int().tolist()}, ValueError, "targets.argmax(1)"),
    "targets: cube": ({"targets": torch.zeros(3, 3, 3, dtype=torch.long)}, ValueError, "one class per image, got (3, 3, 3)"),
    "targets: close name": ({"targets": "tumour", "classes": ["glioma", "tumor", "c", "d", "e"]}, ValueError, "no class is named 'tumour'; did you mean 'tumor'?"),
    "targets: name of two": ({"targets": "a", "classes": list("aacde")}, ValueError, "'a' is the name of the classes [0, 1]"),
    "classes: too few": ({"targets": "a", "classes": ["a", "b"]}, ValueError, "the model names 2 classes and gives 5 scores"),
    "classes: text": ({"classes": "abcde"}, TypeError, "classes must be a list of names in the order of the model's scores, got str"),
    "classes: set": ({"classes": set(FIVE)}, TypeError, "got set"),
    "classes: numbers": ({"classes": [1, 2, 3, 4, 5]}, TypeError, "a list of names"),
    "classes: generator": ({"classes": (name for name in FIVE)}, TypeError, "got generator"),
    "against: out of range": ({"against": 9}, IndexError, "target [9] is out of range"),
    "against: function": ({"against": lambda row: row[0]}, TypeError, "against contrasts classes"),
    "against: beside a function": ({"targets": lambda row: row[0], "against": 1}, TypeError, "against contrasts classes"),
    "against: float": ({"against": 1.5}, TypeError, "got 1.5"),
    "against: too few": ({"against": [0, 1]}, ValueError, "2 targets for 3 images"),
    "methods: number": ({"methods": 3}, TypeError, 'methods must be a name, e.g. "xgradcam", or a list of names, got 3'),
    "methods: None": ({"methods": None}, TypeError, "or a list of names, got None"),
    "methods: none": ({"methods": []}, ValueError, "no method was asked for; the methods are gradcam"),
    "methods: nested": ({"methods": [["gradcam"]]}, TypeError, "or a list of names"),
    "methods: value": ({"methods": METHODS["gradcam"]}, TypeError, "or a list of names"),
    "methods: misspelt": ({"methods": "xgradcma"}, ValueError, "no CAM method 'xgradcma'; did you mean 'xgradcam'? The methods are"),
    "methods: capitals": ({"methods": "GradCAM"}, ValueError, "did you mean 'gradcam'?"),
    "methods: grad-cam's name": ({"methods": "GradCAMPlusPlus"}, ValueError, "did you mean 'gradcam++'?"),
    "methods: pp": ({"methods": ["gradcampp"]}, ValueError, "did you mean 'gradcam++'?"),
    "methods: hyphen": ({"methods": "score-cam"}, ValueError, "did you mean 'scorecam'?"),
    "semantics": ({"semantics": "paper"}, ValueError, 'no semantics \'paper\'; choose "definition" or "grad-cam"'),
    "value": ({"methods": "ablationcam", "value": "median"}, ValueError, "no ablation value 'median'; choose zero, minimum, mean"),
    "value: unused": ({"value": 0}, ValueError, "no ablation value 0"),
    "memory_bytes: 0": ({"methods": "ablationcam", "memory_bytes": 0}, ValueError, "memory_bytes must be a whole, positive number of bytes, got 0; None asks the device"),
    "memory_bytes: negative": ({"methods": "ablationcam", "memory_bytes": -1}, ValueError, "got -1"),
    "memory_bytes: text": ({"methods": "ablationcam", "memory_bytes": "1GB"}, ValueError, "got '1GB'"),
    "memory_bytes: float": ({"methods": "ablationcam", "memory_bytes": 1e9}, ValueError, "whole, positive number of bytes"),
    "memory_bytes: too little": ({"methods": "ablationcam", "memory_bytes": 10}, ValueError, "and 10 may be taken"),
    "output: of one tensor": ({"output": "logits"}, ValueError, "the model returned Tensor with nothing to choose from"),
    "output: float": ({"output": 1.5}, TypeError, "output= must be a position, a key or a function of the output, got 1.5"),
    "output: True": ({"output": True}, TypeError, "got True"),
    "output: makes None": ({"output": lambda made: None}, TypeError, "output= must make a tensor [n, ...] of the output, got NoneType"),
    "output: makes one row": ({"output": lambda made: made[:1]}, ValueError, "the model gave (1, 5) for 3 images"),
    "output: beyond": ({"model": Returns(lambda y: (pooled(y), y)), "layer": "block", "output": 5}, ValueError, "the model returned tuple with 0, 1"),
    "output: no such key": ({"model": Returns(lambda y: {"a": pooled(y)}), "layer": "block", "output": "b"}, ValueError, "the model returned dict with 'a'"),
}
SCORING: dict[str, tuple[dict[str, Any], type[Exception], str]] = {  # for road and for road_table
    "maps: None": ({"maps": None}, TypeError, "maps must be"),
    "maps: list": ({"maps": [M]}, TypeError, "got list"),
    "maps: text": ({"maps": "xgradcam"}, TypeError, "got str"),
    "maps: none": ({"maps": {}}, ValueError, "maps"),
    "maps: all classes": ({"maps": ALL_CLASSES}, ValueError, "these maps explain 5 classes of each image, a score has one"),
    "maps: of other images": ({"maps": {"a": M[:2]}}, ValueError, "maps must be [3, 20, 24], one per image and of its size, got [2, 20, 24]; give the map of each image"),
    "maps: raw": ({"maps": {"a": E.raw["xgradcam"]}}, ValueError, "got [3, 10, 12]; resize them"),
    "maps: channel axis": ({"maps": {"a": M[:, None]}}, ValueError, "drop the channel axis with maps[:, 0]"),
    "maps: one": ({"maps": {"a": M[0]}}, ValueError, "one map for all of 3 images is maps.expand(3, -1, -1)"),
    "maps: uint8": ({"maps": {"a": (M * 255).to(torch.uint8)}}, ValueError, "maps must be real numbers, got torch.uint8"),
    "maps: sparse": ({"maps": {"a": M.to_sparse()}}, ValueError, "convert with maps.to_dense()"),
    "maps: numpy of words": ({"maps": {"a": np.array(["a", "b"])}}, TypeError, "maps must hold real numbers, got an array of"),
    "maps: NaN": ({"maps": {"a": M * NAN}}, ValueError, "no image can be scored; image 0: its map holds NaN"),
    "maps: elsewhere": ({"maps": {"a": M.to("meta")}}, ValueError, "images are on cpu, maps on meta"),
    "maps: two of one name": ({"maps": {1: M, "1": M}}, ValueError, "several maps have one name"),
    "images: NaN": ({"images": X * NAN}, ValueError, "no image can be scored; image 0: the image holds NaN"),
    "images: volume": ({"images": X[:, :, None]}, ValueError, "only images of two axes can be scored"),
    "targets: all": ({"targets": "all"}, ValueError, "a score is for one class of each image"),
    "targets: lists": ({"targets": [[0], [1], [2]]}, ValueError, "a score is for one class of each image"),
    "removed: percent": ({"removed": [20, 40]}, ValueError, "fractions between 0 and 1, e.g. (0.2, 0.4), got [20, 40]; 20 percent are 0.2"),
    "removed: negative": ({"removed": [-0.1]}, ValueError, "got [-0.1]"),
    "removed: none": ({"removed": []}, ValueError, "got []"),
    "removed: number": ({"removed": 0.2}, ValueError, "got 0.2"),
    "removed: text": ({"removed": ["0.2"]}, ValueError, "got ['0.2']"),
    "removed: NaN": ({"removed": [NAN]}, ValueError, "got [nan]"),
    "removed: None": ({"removed": [None]}, ValueError, "got [None]"),
    "ties": ({"ties": "random"}, ValueError, "unknown ties 'random'; choose from rank, threshold"),
    "noise: negative": ({"noise": -1}, ValueError, "noise must be a standard deviation of at least 0, got -1"),
    "noise: NaN": ({"noise": NAN}, ValueError, "got nan"),
    "noise: text": ({"noise": "0.1"}, ValueError, "got '0.1'"),
    "noise: two channels": ({"noise": (0.1, 0.1)}, ValueError, "noise must be one number, or one for each of 3 channels, got 2"),
    "seed: text": ({"seed": "a"}, ValueError, "seed must be a whole number below 2**32, got 'a'"),
    "seed: float": ({"seed": 1.5}, ValueError, "got 1.5"),
    "seed: huge": ({"seed": 10**30}, ValueError, "below 2**32"),
    "score: unknown": ({"score": "logits"}, ValueError, "unknown score 'logits'; choose logit, softmax, sigmoid, probability"),
    "score: number": ({"score": 1}, ValueError, "unknown score 1"),
    "score: class": ({"score": nn.Softmax}, ValueError, "unknown score <class"),
    "score: of logits": ({"score": "probability"}, ValueError, 'score="probability" takes outputs that are in [0, 1] already'),
    "score: makes one row": ({"score": lambda out: out[:1]}, ValueError, "turned (3, 5) into (1, 5); it must keep the rows and classes"),
    "score: makes None": ({"score": lambda out: None}, ValueError, "turned (3, 5) into NoneType"),
    "score: one logit": ({"model": Returns(lambda y: pooled(y)[:, :1]), "targets": 0}, ValueError, "softmax of one output is always 1"),
    "batch: 0": ({"batch": 0}, ValueError, "batch must be at least 1, a whole number of images, got 0"),
    "batch: float": ({"batch": 2.0}, ValueError, "got 2.0"),
    "batch: text": ({"batch": "4"}, ValueError, "got '4'"),
    "output": ({"output": 1.5}, TypeError, "output= must be a position"),
    "model: NaN": ({"model": Returns(lambda y: pooled(y) * NAN), "targets": 0}, ValueError, "the model's score of the image is NaN"),
}
ROAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "method: missing": ({"maps": TWO_METHODS}, ValueError, "which maps? the methods are xgradcam, gradcam"),
    "method: another": ({"method": "gradcam"}, ValueError, "no maps of 'gradcam': the methods are xgradcam"),
    "method: list": ({"method": ["xgradcam"]}, ValueError, "no maps of ['xgradcam']"),
    "order": ({"order": "best"}, ValueError, "unknown order 'best'; choose from combined, morf, lerf"),
    "order: list": ({"order": ["morf"]}, ValueError, "unknown order ['morf']"),
    "noise_space": ({"noise_space": "hu"}, ValueError, "unknown noise_space 'hu'; choose input or pixels"),
    "std: missing": ({"noise_space": "pixels"}, ValueError, 'noise_space="pixels" needs std, the 3 numbers above 0'),
    "std: too short": ({"noise_space": "pixels", "std": (1.0,)}, ValueError, "got (1.0,)"),
    "std: zero": ({"noise_space": "pixels", "std": (0.0, 1.0, 1.0)}, ValueError, "got (0.0, 1.0, 1.0)"),
    "std: number": ({"noise_space": "pixels", "std": 0.5}, ValueError, "got 0.5"),
    "std: text": ({"noise_space": "pixels", "std": "abc"}, ValueError, "got 'abc'"),
}
EVALUATE: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "metric: unknown": ({"metric": "roar"}, ValueError, "no metric 'roar'; the metrics are road"),
    "metric: list": ({"metric": ["road"]}, ValueError, "no metric ['road']"),
    "before: rows": ({"before": torch.zeros(2, 5)}, ValueError, "before has 2 rows for 3 images"),
    "before: classes": ({"before": torch.zeros(3, 2)}, ValueError, "before is (3, 2) on cpu, and the model gives (3, 5)"),
    "before: numpy": ({"before": np.zeros((3, 5))}, TypeError, "before must be the model's outputs, a tensor [n, ...] of real numbers, got ndarray"),
    "before: whole numbers": ({"before": torch.zeros(3, 5).long()}, TypeError, "got torch.int64 (3, 5)"),
    "before: NaN": ({"before": torch.full((3, 5), NAN)}, ValueError, "no image can be scored"),
    "maps: beyond 1": ({"metric": "drop", "maps": M * 9}, ValueError, "maps must be finite and in [0, 1]"),
    "maps: below 0": ({"metric": "increase", "maps": M - 1}, ValueError, "maps must be finite and in [0, 1]"),
}
ones, three = [model_targets.ClassifierOutputTarget(1)], [model_targets.ClassifierOutputTarget(1)] * 3
by_road = cam_road.ROADCombined
CALLS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "layout: no grid": (lambda: Tokens(25), ValueError, "a grid is the number of tokens along each axis, e.g. Tokens((14, 14), prefix=1)"),  # pyright: ignore[reportArgumentType]
    "layout: negative prefix": (lambda: Tokens((5, 5), -1), ValueError, "a grid is the number of tokens"),
    "table: tensor": (lambda: road_table(NET, X, M), TypeError, "got Tensor"),  # pyright: ignore[reportArgumentType]
    "table: baseline's name": (lambda: road_table(NET, X, {"random": M}), ValueError, "random is the name of a baseline"),
    "metric: difference of one": (lambda: replace(METRICS["road-morf"], summary="difference"), ValueError, "needs the orders lerf and morf"),
    "metric: area of one": (lambda: replace(METRICS["road-morf"], summary="area", perturbation=replace(METRICS["road-morf"].perturbation, removed=(0.5,))), ValueError, "two fractions or more, ascending"),
    "of: one class": (lambda: E.of(0), ValueError, "one class per image was explained"),
    "of: beyond": (lambda: ALL_CLASSES.of(9), IndexError, "5 classes of each image were explained, 0 to 4; got 9"),
    "show: all classes": (lambda: ALL_CLASSES.show(X), ValueError, "show one of them"),
    "show: numpy": (lambda: E.show(X.numpy()), TypeError, "images must be the tensor that was explained, got ndarray"),
    "show: other images": (lambda: E.show(X[:2]), ValueError, "show the images that were explained"),
    "show: count": (lambda: E.show(X, count=0), ValueError, "count must be a number of images, at least 1, got 0"),
    "masks: numpy": (lambda: masks_of(N, [0.2], ["morf"]), TypeError, "maps must be a tensor [n, h, w], got ndarray"),
    "masks: one map": (lambda: masks_of(M[0], [0.2], ["morf"]), ValueError, "add the batch axis with map[None]"),
    "masks: NaN": (lambda: masks_of(M * NAN, [0.2], ["morf"]), ValueError, "the map of image 0 holds NaN"),
    "masks: order": (lambda: masks_of(M, [0.2], ["best"]), ValueError, "unknown order ['best']"),
    "masks: fractions": (lambda: masks_of(M, [20], ["morf"]), ValueError, "20 percent are 0.2"),
    "impute: numpy": (lambda: impute(X.numpy(), KEEP), TypeError, "images must be a tensor, got ndarray"),
    "impute: None": (lambda: impute(X, None), TypeError, "keep must be a tensor, got NoneType"),
    "impute: whole numbers": (lambda: impute(X.long(), KEEP), TypeError, "images must be floating-point"),
    "impute: float mask": (lambda: impute(X, M), TypeError, "keep must be bool (True: the pixel stays), got torch.float32"),
    "impute: small mask": (lambda: impute(X, KEEP[:, :5]), ValueError, "keep must be [3, 20, 24]"),
    "impute: NaN": (lambda: impute(X * NAN, KEEP | True), ValueError, "kept pixels that are not finite"),
    "impute: noise": (lambda: impute(X, KEEP, noise="a"), ValueError, "noise must be a standard deviation of at least 0, got 'a'"),
    "impute: tol": (lambda: impute(X, KEEP, tol="x"), ValueError, "tol must be at least"),
    "compat model: path": (lambda: cam.GradCAM("a.pt", [NET.block]), TypeError, "model is the path or name 'a.pt'"),
    "compat model: state dict": (lambda: cam.GradCAM(NET.state_dict(), [NET.block]), TypeError, "perhaps a state dict"),
    "compat layers: module": (lambda: cam.GradCAM(NET, nn.Sequential(NET.block)), TypeError, "target_layers must be a list, e.g. [model.layer4[-1]], got a Sequential"),
    "compat layers: text": (lambda: cam.GradCAM(NET, "block"), TypeError, "target_layers must be a list"),
    "compat layers: None": (lambda: cam.GradCAM(NET, None), TypeError, "got a NoneType"),
    "compat layers: none": (lambda: cam.GradCAM(NET, [])(X), ValueError, "no layer was given"),
    "compat layers: head": (lambda: cam.GradCAM(NET, [NET.head])(X), ValueError, "pass reshape_transform"),
    "compat images: numpy": (lambda: cam.GradCAM(NET, [NET.block])(X.numpy()), TypeError, "images must be a tensor"),
    "compat images: smoothed numpy": (lambda: cam.GradCAM(NET, [NET.block])(X.numpy(), aug_smooth=True), TypeError, "images must be a tensor"),
    "compat targets: number": (lambda: cam.GradCAM(NET, [NET.block])(X, 1), TypeError, "targets must be a list with a target for each image, got int"),
    "compat targets: one": (lambda: cam.GradCAM(NET, [NET.block])(X, ones), ValueError, "1 targets for 3 images"),
    "compat targets: alone": (lambda: cam.GradCAM(NET, [NET.block])(X, three[0]), TypeError, "got ClassifierOutputTarget"),
    "compat targets: rows": (lambda: cam.GradCAM(NET, [NET.block])(X, [model_targets.RawScoresOutputTarget()] * 3), ValueError, "one number per image, got shape (5,)"),
    "compat targets: beyond": (lambda: cam.GradCAM(NET, [NET.block])(X, [model_targets.ClassifierOutputSoftmaxTarget(9)] * 3), IndexError, "category 9 is out of range: the output has 5 classes"),
    "compat category: float": (lambda: model_targets.ClassifierOutputTarget(1.5), TypeError, "whole class numbers"),
    "compat category: binary": (lambda: model_targets.BinaryClassifierOutputTarget(2), ValueError, "categories 0 and 1"),
    "compat mask": (lambda: model_targets.SemanticSegmentationTarget(0, np.ones((2, 2)))(torch.ones(2, 3, 3)), ValueError, "the mask is (2, 2)"),
    "compat transform: text": (lambda: cam.GradCAM(NET, [NET.block], reshape_transform="vit"), TypeError, "reshape_transform must be a function"),
    "compat transform: makes None": (lambda: cam.GradCAM(NET, [NET.block], reshape_transform=lambda x: None)(X), ValueError, "reshape_transform made NoneType"),
    "compat transform: other grid": (lambda: reshape_transforms.vit_reshape_transform(torch.ones(1, 50, 8)), ValueError, "1 + 14 x 14 tokens [n, tokens, channels] were expected, got (1, 50, 8)"),
    "compat augmentations: none": (lambda: cam.GradCAM(NET, [NET.block], tta_transforms=[])(X, aug_smooth=True), TypeError, "tta_transforms must be a list"),
    "compat augmentations: functions": (lambda: cam.GradCAM(NET, [NET.block], tta_transforms=[abs])(X, aug_smooth=True), TypeError, "as ttach has them"),
    "compat: refused": (lambda: cam.AblationLayerFasterRCNN, cam.NotMirroredError, "does not mirror AblationLayerFasterRCNN"),
    "finer: one class": (lambda: explain(ONE_CLASS, X, "finercam", "0"), ValueError, "compares classes and the model has one; ask for gradcam"),
    "against: uneven": (lambda: explain(NET, X, "xgradcam", "block", 1, against=[[0, 2], [0], [2]]), ValueError, "every image needs equally many classes"),
    "against: unknown of several": (lambda: explain(NET, X, "xgradcam", "block", 1, against=[[0, 9]] * 3), IndexError, "9"),
    "against: several to a function": (lambda: explain(NET, X, "xgradcam", "block", lambda row: row[0], against=[[0, 2]] * 3), TypeError, "against contrasts classes"),
    "product: one layer": (lambda: explain(NET, X, "refinecam", "block"), ValueError, "multiplies the maps of several layers; give two or more"),
    "product: no layer": (lambda: explain(NET, X, "refinecam"), ValueError, "multiplies the maps of several layers; give two or more"),
    "product in windows: one layer": (lambda: explain(NET, X, "sess(refinecam)", "block"), ValueError, "give two or more"),
    "product: of windows": (lambda: explain(NET, X, "refinecam(sess)", ["block", "late"]), ValueError, "multiplies maps of single layers, and sess has none"),
    "network: several layers": (lambda: explain(NET, X, "fullgrad", ["block", "late"]), ValueError, "reads the whole network, and no list of layers"),
    "network: no bias": (lambda: explain(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten()), X, "fullgrad"), ValueError, "no convolution or BatchNorm with one"),
    "inside: nothing": (lambda: explain(NET, X, "xgradcam(fem)", "block"), ValueError, "xgradcam holds no other method"),
    "hybrid: missing": (lambda: hybrid(TWO_METHODS, "xgradcam", "fem"), ValueError, "no map of fem was explained"),
    "compat finer: alpha": (lambda: cam.FinerCAM(NET, [NET.block])(X, alpha="1"), TypeError, "alpha must be a number"),
    "compat finer: places": (lambda: cam.FinerCAM(NET, [NET.block])(X, comparison_categories=[0]), ValueError, "places in the order of nearness"),
    "compat finer: place": (lambda: cam.FinerCAM(NET, [NET.block])(X, comparison_categories=2), ValueError, "places in the order of nearness"),
    "compat finer: beyond": (lambda: cam.FinerCAM(NET, [NET.block])(X, target_idx=9), IndexError, "class 9 of 5"),
    "compat refine: layer": (lambda: cam.RefineCAM(NET, NET.block), TypeError, "a list of layers"),
    "compat refine: none": (lambda: cam.RefineCAM(NET, []), TypeError, "at least one"),
    "compat sess: pool": (lambda: cam.SESS(NET, [NET.block], pool="sum"), ValueError, 'pool must be "mean" or "max"'),
    "compat sess: targets": (lambda: cam.SESS(NET, [NET.block])(X, ones), ValueError, "1 targets for 3 images"),
    "compat sess: scale": (lambda: cam.SESS(NET, [NET.block], scales=[4])(X), ValueError, "at least the window's 20, got 4"),
    "compat kernel": (lambda: cam.KPCA_CAM(NET, [NET.block], kernel="laplace"), ValueError, "no kernel 'laplace'"),
    "compat gamma": (lambda: cam.KPCA_CAM(NET, [NET.block], gamma=-1), ValueError, "gamma must be a number above 0"),
    "compat fem: k": (lambda: cam.FEM(NET, [NET.block], k="2"), ValueError, "k must be a number"),
    "compat fullgrad: path": (lambda: cam.FullGrad("a.pt", []), TypeError, "model is the path or name"),
    "compat fullgrad: no bias": (lambda: cam.FullGrad(nn.Sequential(nn.Linear(3, 2)), []), ValueError, "no Conv2d or BatchNorm2d"),
    "compat guided: class": (lambda: cam.GuidedBackpropReLUModel(NET)(X, 9), IndexError, "class 9 is out of range"),
    "compat guided: numpy": (lambda: cam.GuidedBackpropReLUModel(NET)(X.numpy()), TypeError, "images must be a tensor"),
    "compat factors: none": (lambda: cam.DeepFeatureFactorization(NET, NET.block)(X, 0), ValueError, "number of components must be at least 1"),
    "compat factors: float": (lambda: cam.DeepFeatureFactorization(NET, NET.block)(X, 2.5), ValueError, "number of components must be at least 1"),
    "factors: signed": (lambda: factorise(-torch.ones(3, 4), 2), ValueError, "take each channel's minimum off"),
    "compat edges": (lambda: sobel_cam(N), ValueError, "the image must be numbers [h, w, 3]"),
    "compat arcc": (lambda: ARCC("gradcam"), TypeError, "base_method must be a CAM"),
    "compat: refused option": (lambda: cam.AblationCAM(NET, [NET.block], ratio_channels_to_ablate=0.5), cam.NotMirroredError, "leave it at 1"),
    "compat: ablation layer": (lambda: cam.AblationCAM(NET, [NET.block], ablation_layer=3), cam.NotMirroredError, "use AblationLayer"),
    "percentiles: above": (lambda: by_road([120]), ValueError, "percentiles must be numbers from 0 to 100, at least one, got [120]"),
    "percentiles: below": (lambda: by_road([-1]), ValueError, "got [-1]"),
    "percentiles: none": (lambda: by_road([]), ValueError, "got []"),
    "percentiles: text": (lambda: by_road(["20"]), ValueError, "got ['20']"),
    "percentiles: number": (lambda: by_road(20), ValueError, "got 20"),
    "percentile: text": (lambda: cam_road.ROADMostRelevantFirst("80"), ValueError, "got ['80']"),
    "percentile: auto": (lambda: cam_road.ROADMostRelevantFirst("auto"), cam.NotMirroredError, "percentile='auto'"),
    "metrics noise": (lambda: by_road([20], noise="a")(X, N, three, NET), ValueError, "noise must be a standard deviation"),
    "metrics maps: of other images": (lambda: by_road([20])(X, N[:2], three, NET), ValueError, "cams must be [3, 20, 24], one map per image, got [2, 20, 24]"),
    "metrics maps: NaN": (lambda: by_road([20])(X, N * np.nan, three, NET), ValueError, "cams hold NaN"),
    "metrics maps: explanation": (lambda: by_road([20])(X, E, three, NET), TypeError, 'take one method\'s, e.g. e.maps["xgradcam"]'),
    "metrics images: numpy": (lambda: by_road([20])(X.numpy(), N, three, NET), TypeError, "images must be a tensor"),
    "metrics images: none": (lambda: by_road([20])(X[:0], N[:0], [], NET), ValueError, "the batch is empty"),
    "metrics images: no batch axis": (lambda: by_road([20])(X[0], N, three, NET), ValueError, "add the batch axis"),
    "metrics targets: None": (lambda: by_road([20])(X, N, None, NET), TypeError, "targets must be a list with a callable for each image"),
    "metrics targets: numbers": (lambda: by_road([20])(X, N, [1, 2, 3], NET), TypeError, "a callable for each image"),
    "metrics targets: too few": (lambda: by_road([20])(X, N, three[:2], NET), ValueError, "2 targets for 3 images"),
    "metrics model: None": (lambda: by_road([20])(X, N, three, None), TypeError, "model is a NoneType"),
    "drop images: numpy": (lambda: cam_mult_image.DropInConfidence()(X.numpy(), N, three, NET), TypeError, "images must be a tensor"),
    "increase targets: None": (lambda: cam_mult_image.IncreaseInConfidence()(X, N, None, NET), TypeError, "a callable for each image"),
    "scores of numbers": (lambda: perturbation_confidence.score_all(NET, X, [1, 2, 3]), TypeError, "a callable for each image"),
    "picture: not in [0, 1]": (lambda: pictures.show_cam_on_image(SCENE * 255, N[0]), ValueError, "divide it by 255"),
    "picture: None": (lambda: pictures.show_cam_on_image(None, N[0]), ValueError, "the image must be [h, w, 3] and the map [h, w]"),
    "picture: NaN": (lambda: pictures.show_cam_on_image(SCENE * np.nan, N[0]), ValueError, "the image must be in [0, 1]"),
    "picture: map's size": (lambda: pictures.show_cam_on_image(SCENE, N[0][:5]), ValueError, "the map must be (20, 24) as the image"),
    "picture: weight": (lambda: pictures.show_cam_on_image(SCENE, N[0], image_weight=2), ValueError, "image_weight must be in [0, 1], got 2"),
    "preprocess: path": (lambda: pictures.preprocess_image("a.png"), ValueError, "the image must be numbers [h, w] or [h, w, channels]"),
    "preprocess: channels first": (lambda: pictures.preprocess_image(SCENE.T), ValueError, "mean and std must be 20 numbers"),
    "preprocess: std 0": (lambda: pictures.preprocess_image(SCENE, std=(0, 0, 0)), ValueError, "and std above 0"),
    "scale: size": (lambda: pictures.scale_cam_image(N, 5), ValueError, "target_size must be (width, height), got 5"),
    "scale: one map": (lambda: pictures.scale_cam_image(N[0]), ValueError, "maps must be [n, height, width] or [n, d, h, w], got (20, 24)"),
    "projection": (lambda: svd_on_activations.get_2d_projection(N[0]), ValueError, "activations must be [n, c, *spatial]"),
    "build: unknown": (lambda: build_model("resnet"), ValueError, "no model is called 'resnet'; choose one of resnet50"),
    "build: no class": (lambda: build_model("resnet18", classes=0), ValueError, "a classifier of 0 classes was asked for"),
    "build: text": (lambda: build_model("resnet18", classes="4"), ValueError, "a classifier of '4' classes was asked for"),
}
# fmt: on


def call(function: Callable[..., Any], changes: dict[str, Any], usual: dict[str, Any]) -> Any:
    return function(**{**usual, **changes})


EXPLAINED = {"model": NET, "images": X, "methods": "xgradcam", "layer": "block"}
SCORED = {"model": NET, "images": X, "maps": E, "progress": False}


def rows() -> dict[str, tuple[Callable[[], Any], type[Exception], str]]:
    """Every row as a call."""
    tables: list[tuple[Callable[..., Any], dict[str, Any], dict[str, tuple[Any, type[Exception], str]]]] = []
    for function, usual in ((explain, EXPLAINED), (road, SCORED)):
        for argument, values in (("model", MODELS), ("images", IMAGES), ("targets", TARGETS)):
            named = {
                f"{argument}: {what}": ({argument: value}, *rest) for what, (value, *rest) in values.items()
            }
            tables.append((function, usual, named))
    tables += [(explain, EXPLAINED, EXPLAIN), (road, SCORED, ROAD), (road, SCORED, SCORING)]
    tables += [(road_table, SCORED, SCORING), (evaluate, {**SCORED, "metric": "road"}, EVALUATE)]
    found = {
        f"{function.__name__}({name})": (partial(call, function, changes, usual), error, words)
        for function, usual, table in tables
        for name, (changes, error, words) in table.items()
    }
    return {**found, **CALLS}


ROWS = rows()


@pytest.mark.parametrize(("attempt", "error", "words"), ROWS.values(), ids=ROWS)
def test_a_bad_input_gets_one_plain_sentence(attempt, error, words):
    with pytest.raises(error) as caught:
        attempt()
    said = str(caught.value)
    assert words in said
    assert isinstance(caught.value, ALLOWED)
    assert len(said.splitlines()) <= 3
    assert not said.endswith("\n")
    raised_in = traceback.extract_tb(caught.value.__traceback__)[-1].filename
    assert any(f"/{room}/" in raised_in for room in ROOMS), f"not our sentence: {raised_in}"


def test_the_table_is_long_enough():
    assert len(ROWS) >= 120


@pytest.mark.parametrize("method", METHODS)
def test_every_method_names_images_that_are_nan(method):
    model, place = fitting(method, NET, "block")
    with pytest.raises(ValueError, match="could be made: the images hold NaN or infinite"):
        explain(model, X * NAN, method, **place)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in OF_ANY_NETWORK])
def test_methods_of_attention_name_what_they_need(method):
    model, place = fitting(method, NET, "block")
    windows = copy.deepcopy(model)
    windows.blocks[0].attention = Mixing()
    for changed, at, words in (
        (
            NET,
            {"layer": "block"},
            f"{method} reads what the tokens .* and layer block holds none; give a layer of",
        ),
        (model, {**place, "layer": "norm"}, f"{method} finds the blocks .* and norm lies in no list of them"),
        (
            windows,
            place,
            f"{method} needs one attention of all tokens to all in each block, and blocks.0 has not",
        ),
        (
            Backwards(model),
            {**place, "layer": "whole.blocks.1.norm1"},
            f"{method} needs blocks that run once, in",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            explain(changed, X, method, targets=1, **at)


def test_a_gradient_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="gradient is not"):
        explain(NET, X, "xgradcam", "block", targets=lambda row: (row[0] - row[0].detach()).sqrt())


class Mixing(nn.Module):
    """In attention's place: every token reads the mean of all."""

    def forward(self, x: Tensor, *_: Tensor, need_weights: bool) -> tuple[Tensor, None]:
        return x.mean(1, keepdim=True).expand_as(x) + 0 * x, None


class Backwards(nn.Module):
    """Runs a transformer's blocks from the last to the first."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.whole = copy.deepcopy(model)

    def forward(self, images: Tensor) -> Tensor:
        whole = self.whole
        patches = whole.stem(images).flatten(2).mT
        tokens = torch.cat([whole.token.expand(len(patches), 1, 16), patches], 1)
        for block in reversed(list(whole.blocks)):
            tokens = block(tokens)
        return whole.head(whole.norm(tokens)[:, 0])


class Wandering(nn.Module):
    """Calls one convolution twice and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.never = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.twice(self.twice(images)).mean((2, 3))


@pytest.mark.parametrize(
    ("layer", "words"), [("twice", "called more than once"), ("never", "never reached layer never")]
)
def test_a_layer_off_the_way_is_named(layer, words):
    with pytest.raises(ValueError, match=words):
        explain(Wandering(), X, "xgradcam", layer)


@pytest.mark.parametrize(
    "output", [{"scores": torch.zeros(1)}, (), "text", 3.0], ids=["mapping", "tuple", "text", "number"]
)
def test_an_output_without_logits_is_named(output):
    with pytest.raises(TypeError, match="no scores were found"):
        scores_in(output, 3)


def test_channels_last_is_not_read_as_channels_first():
    swin_like = nn.Sequential(nn.Conv2d(3, 16, 4, 4), Aside(lambda y: y.permute(0, 2, 3, 1)))
    wanted = {"layer": "1", "targets": lambda row: row.sum()}
    with pytest.raises(ValueError, match="ChannelsLast"):
        explain(swin_like, X, "layercam", **wanted)
    forced = explain(swin_like, X, "layercam", layout=ChannelsFirst(), **wanted)
    assert forced.raw["layercam"].shape == (3, 6, 16)


@pytest.mark.filterwarnings("ignore:.* divides by each channel's sum")
@pytest.mark.parametrize("method", AT_ONE_LAYER)
def test_a_model_with_a_compiled_part_is_explained(method):
    plain = nn.Sequential(SCRIPT_INSIDE[0], nn.ReLU(), *SCRIPT_INSIDE[2:])
    for mode in (False, True):
        nets = (SCRIPT_INSIDE.train(mode), plain.train(mode))
        found, expected = (explain(net, X, method, "0", targets=1).maps[method] for net in nets)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "removed",
    [torch.tensor([0.2, 0.4]), np.array([0.2, 0.4]), (p for p in (0.2, 0.4))],
    ids=["tensor", "array", "generator"],
)
def test_fractions_come_in_any_sequence(removed):
    expected = road(NET, X, E, removed=[0.2, 0.4], noise=0.0)
    assert torch.allclose(road(NET, X, E, removed=removed, noise=0.0).score, expected.score, atol=1e-5)
