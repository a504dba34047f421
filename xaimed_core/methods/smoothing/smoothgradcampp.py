"""Smooth Grad-CAM++: Omeiza et al. 2019 (arXiv 1908.01224), GradCAM++ of derivatives averaged over noisy images."""

from xaimed_core.methods.method import Method, Smoothing

SMOOTHGRADCAM_PLUS_PLUS = Method(
    name="smoothgradcam++",
    title="Smooth Grad-CAM++",
    paper="arXiv 1908.01224",
    equation="w_k = sum D2 relu(D1) / (2 D2 + sum(A_k) D3), Dp the mean of g_k^p over 8 noisy images",
    kind=Smoothing(samples=8, spread=0.15),
    differs=(
        "The paper prints D1 for D2 in the numerator, which is not GradCAM++ without noise; with D2 it is, as in "
        "torch-cam. That takes the ReLU of the last draw's gradient alone, and noise of 0.3 in whatever units; here it "
        "is the ReLU of the mean D1, and noise of 15 % of an image's range, as in SmoothGrad. The 8 draws are seeded "
        "and serve every image."
    ),
)
