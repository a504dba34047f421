"""ScoreCAM: Wang et al. 2020, CVPRW (arXiv 1910.01279), eq. 6 and algorithm 1, softmax over channels."""

from xaimed_core.methods.method import InputProbe, Method

SCORECAM = Method(
    name="scorecam",
    title="ScoreCAM",
    paper="arXiv 1910.01279",
    equation="w_k = softmax_k y(x * s(up(A_k))), s the min-max scaling",
    kind=InputProbe(),
    oracle="ScoreCAM",
    differs=(
        "grad-cam upsamples the masks from corner to corner (align_corners), which shifts them by up to half a cell. "
        "It adds 1e-8 to a channel's range, which fades the masks of activations in small units. "
        "A constant channel masks nothing in (s = 0) without it."
    ),
)
