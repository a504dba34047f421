"""Calls by grad-cam's names."""

import numpy as np
import torch
from torch import nn

from tests.core.bad_input.given import NET, SCENE, E, N, Row, X
from xaimed_core import compat as cam
from xaimed_core.compat.metrics import cam_mult_image, perturbation_confidence
from xaimed_core.compat.metrics import road as cam_road
from xaimed_core.compat.metrics.arcc import ARCC
from xaimed_core.compat.sobel_cam import sobel_cam
from xaimed_core.compat.utils import image as pictures
from xaimed_core.compat.utils import model_targets, reshape_transforms, svd_on_activations

# ruff: noqa: E501 # a table: one row a line
# fmt: off
ones, three = [model_targets.ClassifierOutputTarget(1)], [model_targets.ClassifierOutputTarget(1)] * 3
by_road = cam_road.ROADCombined
COMPAT_CALLS: dict[str, Row] = {
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
    "compat finer: alpha": (lambda: cam.FinerCAM(NET, [NET.block])(X, alpha="1"), TypeError, "alpha must be a number"),
    "compat finer: places": (lambda: cam.FinerCAM(NET, [NET.block])(X, comparison_categories=[0]), ValueError, "places in the order of nearness"),
    "compat finer: place": (lambda: cam.FinerCAM(NET, [NET.block])(X, comparison_categories=2), ValueError, "places in the order of nearness"),
    "compat finer: beyond": (lambda: cam.FinerCAM(NET, [NET.block])(X, target_idx=9), IndexError, "class 9 of 5"),
    "compat refine: layer": (lambda: cam.RefineCAM(NET, NET.block), TypeError, "a list of layers"),
    "compat refine: none": (lambda: cam.RefineCAM(NET, []), TypeError, "at least one"),
    "compat sess: pool": (lambda: cam.SESS(NET, [NET.block], pool="sum"), ValueError, 'pool must be "mean" or "max"'),
    "compat sess: filter": (lambda: cam.SESS(NET, [NET.block], pre_filter_ratio=1.0), ValueError, "pre_filter_ratio must be in [0, 1), got 1.0"),
    "compat sess: scales": (lambda: cam.SESS(NET, [NET.block], num_scales=0), ValueError, "must be at least 1, got 0, "),
    "compat sess: batch": (lambda: cam.SESS(NET, [NET.block], batch_size=0), ValueError, "must be at least 1"),
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
}
