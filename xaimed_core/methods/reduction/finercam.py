"""Finer-CAM: Zhang et al. 2025, CVPR (arXiv 2501.11309): GradCAM of a class against the classes most alike."""

from xaimed_core.methods.method import Method, Reduction
from xaimed_core.methods.reduction.gradcam import weights
from xaimed_kernels.gradient_maps import Formula

FINERCAM = Method(
    name="finercam",
    title="FinerCAM",
    paper="arXiv 2501.11309",
    equation="w_k = mean d/dA_k of sum_c p_c (y - y_c) / sum_c p_c over the 3 classes c nearest in score, or against=",
    kind=Reduction(Formula("finercam", weights, per_channel=True), slope="finer"),
    oracle="FinerCAM",
    differs=(
        "grad-cam compares only where targets are None, and takes a target given as it is; here a class is always "
        "compared, a score function taken as it is. It adds 1e-9 to the sum of p_c, which bends the map of a certain "
        'classifier; here the weights p_c / sum p_c are exact, but for semantics="grad-cam".'
    ),
)
