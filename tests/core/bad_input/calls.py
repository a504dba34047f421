"""Calls of everything else in the library."""

from dataclasses import replace

import torch
from torch import nn

from tests.core.bad_input.given import ALL_CLASSES, KEEP, NAN, NET, ONE_CLASS, TWO_METHODS, E, M, N, Row, X
from xaimed_bench.models import build_model
from xaimed_core import METRICS, Tokens, explain, hybrid, road_table
from xaimed_core.factorisation import factorise
from xaimed_core.faithfulness import Blur, Zero, masks_of
from xaimed_core.faithfulness.evaluation import with_removal
from xaimed_kernels.impute import impute

# ruff: noqa: E501 # a table: one row a line
# fmt: off
CALLS: dict[str, Row] = {
    "product: one layer": (lambda: explain(NET, X, "refinecam", "block"), ValueError, "multiplies the maps of several layers; give two or more"),
    "product: no layer": (lambda: explain(NET, X, "refinecam"), ValueError, "multiplies the maps of several layers; give two or more"),
    "product in windows: one layer": (lambda: explain(NET, X, "sess(refinecam)", "block"), ValueError, "give two or more"),
    "product: of windows": (lambda: explain(NET, X, "refinecam(sess)", ["block", "late"]), ValueError, "multiplies maps of single layers, and sess has none"),
    "network: several layers": (lambda: explain(NET, X, "fullgrad", ["block", "late"]), ValueError, "reads the whole network, and no list of layers"),
    "network: no bias": (lambda: explain(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten()), X, "fullgrad"), ValueError, "no convolution or BatchNorm with one"),
    "inside: nothing": (lambda: explain(NET, X, "xgradcam(fem)", "block"), ValueError, "xgradcam holds no other method"),
    "layout: no grid": (lambda: Tokens(25), ValueError, "a grid is the number of tokens along each axis, e.g. Tokens((14, 14), prefix=1)"),  # pyright: ignore[reportArgumentType]
    "layout: negative prefix": (lambda: Tokens((5, 5), -1), ValueError, "a grid is the number of tokens"),
    "table: tensor": (lambda: road_table(NET, X, M), TypeError, "got Tensor"),  # pyright: ignore[reportArgumentType]
    "table: baseline's name": (lambda: road_table(NET, X, {"random": M}), ValueError, "random is the name of a baseline"),
    "metric: difference of one": (lambda: replace(METRICS["road-morf"], summary="difference"), ValueError, "needs the orders lerf and morf"),
    "metric: area of one": (lambda: replace(METRICS["road-morf"], summary="area", perturbation=replace(METRICS["road-morf"].perturbation, removed=(0.5,))), ValueError, "two fractions or more, ascending"),
    "metric: no fractions": (lambda: with_removal(METRICS["drop"], Zero(), (0.5,)), ValueError, "removes no fractions"),
    "metric: blur": (lambda: Blur(sigma=0.0), ValueError, "sigma must be positive"),
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
    "finer: one class": (lambda: explain(ONE_CLASS, X, "finercam", "0"), ValueError, "compares classes and the model has one; ask for gradcam"),
    "against: uneven": (lambda: explain(NET, X, "xgradcam", "block", 1, against=[[0, 2], [0], [2]]), ValueError, "every image needs equally many classes"),
    "against: unknown of several": (lambda: explain(NET, X, "xgradcam", "block", 1, against=[[0, 9]] * 3), IndexError, "9"),
    "against: several to a function": (lambda: explain(NET, X, "xgradcam", "block", lambda row: row[0], against=[[0, 2]] * 3), TypeError, "against contrasts classes"),
    "hybrid: missing": (lambda: hybrid(TWO_METHODS, "xgradcam", "fem"), ValueError, "no map of fem was explained"),
    "factors: signed": (lambda: factorise(-torch.ones(3, 4), 2), ValueError, "take each channel's minimum off"),
    "build: unknown": (lambda: build_model("resnet"), ValueError, "no model is called 'resnet'; choose one of resnet50"),
    "build: no class": (lambda: build_model("resnet18", classes=0), ValueError, "a classifier of 0 classes was asked for"),
    "build: text": (lambda: build_model("resnet18", classes="4"), ValueError, "a classifier of '4' classes was asked for"),
}
