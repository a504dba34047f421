"""The interface of grad-cam 1.5.7 over xaimed's engine: replacing the import is the whole migration.

``from pytorch_grad_cam import XGradCAM`` becomes ``from xaimed_core.compat import XGradCAM``; module paths, arguments
and results (numpy, float32, ``[n, height, width]``) are the same, so are the maps to 1e-4: grad-cam's epsilons
are kept (`xaimed_core.semantics`). What differs, on purpose:

- The layer's own output is explained, before any later in-place operation. On a CPU grad-cam sees it after (DenseNet).
- AblationCAM sets every channel to 0. grad-cam does so where the smallest activation is exactly 0, else it writes
  that minimum less 1e7, read again after other rows changed, so that its result depends on ``batch_size``.
- EigenCAM, EigenGradCAM and ``eigen_smooth`` settle the sign that grad-cam leaves to the SVD.
- Volumes are resized trilinearly, not by cubic splines.
- RefineCAM and FinerCAM take one forward, FullGrad resizes a layer once, SESS asks its method for a batch of windows.
- A subclass that defines hooks (``get_cam_weights``, ``get_cam_image``, ...) is explained by them, at grad-cam's own
  price; ``route`` of every class says what ran.
- Parameters' ``.grad`` is left alone, NaN and a wrong number of targets are errors, and no exception is swallowed by
  the ``with`` block.

AblationLayerFasterRCNN is refused by name, with what to do instead.
"""

from xaimed_core.compat.ablation_cam import AblationCAM
from xaimed_core.compat.ablation_layer import AblationLayer, AblationLayerVit
from xaimed_core.compat.activations_and_gradients import ActivationsAndGradients
from xaimed_core.compat.eigen_cam import EigenCAM
from xaimed_core.compat.eigen_grad_cam import EigenGradCAM
from xaimed_core.compat.feature_factorization.deep_feature_factorization import (
    DeepFeatureFactorization,
    run_dff_on_image,
)
from xaimed_core.compat.fem import FEM
from xaimed_core.compat.finer_cam import FinerCAM
from xaimed_core.compat.fullgrad_cam import FullGrad
from xaimed_core.compat.grad_cam import GradCAM
from xaimed_core.compat.grad_cam_elementwise import GradCAMElementWise
from xaimed_core.compat.grad_cam_plusplus import GradCAMPlusPlus
from xaimed_core.compat.guided_backprop import GuidedBackpropReLUModel
from xaimed_core.compat.hirescam import HiResCAM
from xaimed_core.compat.kpca_cam import KPCA_CAM
from xaimed_core.compat.layer_cam import LayerCAM
from xaimed_core.compat.random_cam import RandomCAM
from xaimed_core.compat.refine_cam import RefineCAM
from xaimed_core.compat.refusals import NotMirroredError, refused
from xaimed_core.compat.score_cam import ScoreCAM
from xaimed_core.compat.seg_eigen_cam import SegEigenCAM
from xaimed_core.compat.sess import SESS
from xaimed_core.compat.shapley_cam import ShapleyCAM
from xaimed_core.compat.xgrad_cam import XGradCAM

__all__ = [
    "FEM",
    "KPCA_CAM",
    "SESS",
    "AblationCAM",
    "AblationLayer",
    "AblationLayerVit",
    "ActivationsAndGradients",
    "DeepFeatureFactorization",
    "EigenCAM",
    "EigenGradCAM",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "GuidedBackpropReLUModel",
    "HiResCAM",
    "LayerCAM",
    "NotMirroredError",
    "RandomCAM",
    "RefineCAM",
    "ScoreCAM",
    "SegEigenCAM",
    "ShapleyCAM",
    "XGradCAM",
    "run_dff_on_image",
]


def __getattr__(name: str) -> object:
    raise refused(
        name, __name__, {"AblationLayerFasterRCNN": "AblationCAM takes models with one score per image"}
    )
