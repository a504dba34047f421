"""What grad-cam 1.5.7 has and xaimed does not mirror, each by name with what to do instead."""

from __future__ import annotations

from typing import Final


class NotMirroredError(NotImplementedError):
    """A part of grad-cam that `xaimed_core.compat` does not mirror was asked for."""


_PACKAGE = "import it from pytorch_grad_cam, which can be used beside this one"
_METHOD = "a new CAM method is one file and one line under xaimed_core/methods, see CONTRIBUTING.md"
_RAW = "xaimed_core.explain gives .raw and .weights for the layers it explains"

CLASSES: Final[dict[str, str]] = {
    "ActivationsAndGradients": _RAW,
    "DeepFeatureFactorization": _PACKAGE,
    "FEM": _PACKAGE,
    "FinerCAM": "explain with the target utils.model_targets.FinerWeightedTarget",
    "FullGrad": _PACKAGE,
    "GradCAMElementWise": "LayerCAM and HiResCAM weigh element by element too, with and without a ReLU",
    "GuidedBackpropReLUModel": _PACKAGE,
    "KPCA_CAM": "EigenCAM is its linear form",
    "RandomCAM": "a random baseline is torch.rand of the maps' shape",
    "RefineCAM": _PACKAGE,
    "SESS": _PACKAGE,
    "SegEigenCAM": "EigenGradCAM settles the sign by the evidence and, near zero, by Seg-Eigen-CAM's rule",
    "ShapleyCAM": _PACKAGE,
    "run_dff_on_image": _PACKAGE,
}
"""Names of the package itself."""

MEMBERS: Final[dict[str, str]] = {
    "activations_and_grads": f"no hooks are kept between calls, so nothing has to be released; {_RAW}",
    "aggregate_multi_layers": "pass all target_layers: their maps are averaged",
    "compute_cam_per_layer": "explain one layer at a time",
    "get_cam_image": _METHOD,
    "get_cam_weights": _METHOD,
    "get_target_width_height": "maps have the size of the images",
}
"""Attributes and methods of its CAM classes."""

UTILITIES: Final[dict[str, str]] = {
    "create_labels_legend": _PACKAGE,
    "fasterrcnn_reshape_transform": "detection models return no single score per image; " + _PACKAGE,
    "get_2d_projection_kernel": "get_2d_projection is its linear form",
    "show_factorization_on_image": _PACKAGE,
}
"""Functions of its utils."""


def refused(name: str, where: str, table: dict[str, str]) -> Exception:
    """What a module's or object's ``__getattr__`` raises for ``name``."""
    if name in table:
        return NotMirroredError(f"xaimed_core.compat does not mirror {name}: {table[name]}")
    return AttributeError(f"{where} has no {name!r}")
