"""IS-CAM: Naidu et al. 2020 (arXiv 2010.03023): ScoreCAM's score along the path from no image to the masked one."""

from xaimed_core.methods.method import InputProbe, Method

STEPS = 10

ISCAM = Method(
    name="iscam",
    title="IS-CAM",
    paper="arXiv 2010.03023",
    equation="w_k = softmax_k mean_i y(i / 10 x * s(up(A_k))), i from 1 to 10",
    kind=InputProbe(scales=tuple((i + 1) / STEPS for i in range(STEPS))),
    differs=(
        "torch-cam sums the steps up, so that its last image is 5.5 times the masked one; here the path ends at the "
        "masked image, as that of an integral from 0 to 1 does."
    ),
)
