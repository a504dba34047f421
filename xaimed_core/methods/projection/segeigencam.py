"""Seg-Eigen-CAM: Chung and Ying 2025, Applied Sciences 15(13), eq. 10 to 13."""

from xaimed_core.methods.method import Method, Projection

SEGEIGENCAM = Method(
    name="segeigencam",
    title="SegEigenCAM",
    paper="10.3390/app15137562",
    equation="L = X v_1 with |min| <= max, X = |g| A with centred columns, v_1 its first right singular vector",
    kind=Projection(by_gradient=True, magnitude=True),
    oracle="SegEigenCAM",
)
