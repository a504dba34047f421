"""What `road`, `road_table` and `evaluate` are given."""

import numpy as np
import torch
from torch import nn

from tests.core.bad_input.given import ALL_CLASSES, NAN, TWO_METHODS, Change, E, M, Returns, X, pooled

# ruff: noqa: E501 # a table: one row a line
# fmt: off
SCORING: dict[str, Change] = {  # for road and for road_table
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
ROAD: dict[str, Change] = {
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
EVALUATE: dict[str, Change] = {
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
