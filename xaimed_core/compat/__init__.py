"""The interface of grad-cam 1.5.7 over xaimed's engine: replacing the import is the whole migration.

``from pytorch_grad_cam import XGradCAM`` becomes ``from xaimed_core.compat import XGradCAM``; module paths, arguments
and results (numpy, float32, ``[n, height, width]``) are the same, so are the maps to 1e-4: grad-cam's epsilons
are kept (`xaimed_core.semantics`). What differs, on purpose:

- The layer's own output is explained, before any later in-place operation. On a CPU grad-cam sees it after (DenseNet).
- AblationCAM sets every channel to 0. grad-cam does so where the smallest activation is exactly 0, else it writes
  that minimum less 1e7, read again after other rows changed, so that its result depends on ``batch_size``.
- EigenCAM, EigenGradCAM and ``eigen_smooth`` settle the sign that grad-cam leaves to the SVD.
- Volumes are resized trilinearly, not by cubic splines.
- Parameters' ``.grad`` is left alone, NaN and a wrong number of targets are errors, and no exception is swallowed by
  the ``with`` block.

Anything else of grad-cam is refused by name, with what to do instead.
"""

from xaimed_core.compat.ablation_cam import AblationCAM
from xaimed_core.compat.ablation_layer import AblationLayer, AblationLayerVit
from xaimed_core.compat.eigen_cam import EigenCAM
from xaimed_core.compat.eigen_grad_cam import EigenGradCAM
from xaimed_core.compat.grad_cam import GradCAM
from xaimed_core.compat.grad_cam_plusplus import GradCAMPlusPlus
from xaimed_core.compat.hirescam import HiResCAM
from xaimed_core.compat.layer_cam import LayerCAM
from xaimed_core.compat.refusals import CLASSES, NotMirroredError, refused
from xaimed_core.compat.score_cam import ScoreCAM
from xaimed_core.compat.xgrad_cam import XGradCAM

__all__ = [
    "AblationCAM",
    "AblationLayer",
    "AblationLayerVit",
    "EigenCAM",
    "EigenGradCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "NotMirroredError",
    "ScoreCAM",
    "XGradCAM",
]


def __getattr__(name: str) -> object:
    raise refused(name, __name__, CLASSES)
