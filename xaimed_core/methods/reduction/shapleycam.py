"""ShapleyCAM: Cai 2025 (arXiv 2501.06261), of the score that is asked for."""

from xaimed_core.methods.method import Method, Reduction
from xaimed_core.methods.reduction.gradcam import weights
from xaimed_kernels.gradient_maps import Formula

SHAPLEYCAM = Method(
    name="shapleycam",
    title="ShapleyCAM",
    paper="arXiv 2501.06261",
    equation="w_k = mean (g - H A / 2)_k, H the score's second derivative by A",
    kind=Reduction(Formula("shapleycam", weights, per_channel=True), slope="shapley"),
    oracle="ShapleyCAM",
)
