"""KPCA-CAM: Karmani et al. 2024 (arXiv 2410.00267), with the sigmoid kernel and columns centred as grad-cam does."""

from xaimed_core.methods.method import KernelProjection, Method

KPCACAM = Method(
    name="kpcacam",
    title="KPCA-CAM",
    paper="arXiv 2410.00267",
    equation="L = sqrt(l_1) u_1 of the centred kernel tanh(X X^T / c + 1) of positions, X = A with centred columns",
    kind=KernelProjection(),
    oracle="KPCA_CAM",
)
