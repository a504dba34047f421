"""FullGrad: Srinivas and Fleuret 2019 (arXiv 1905.00780), eq. 6 and 8: what input and biases have of the score."""

from xaimed_core.methods.method import Biases, Method

FULLGRAD = Method(
    name="fullgrad",
    title="FullGrad",
    paper="arXiv 1905.00780",
    equation="L = sum_c s(|x_c dy/dx_c|) + sum_l sum_k up(s(|b_k dy/dz_k|)), s the min-max scaling, z layer l's output",
    kind=Biases(),
    oracle="FullGrad",
    differs="grad-cam reads Conv2d and BatchNorm2d alone; here those of signals and volumes and transposed ones, too.",
)
