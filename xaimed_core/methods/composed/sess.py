"""SESS: Tursun et al. 2022 (arXiv 2207.01769): maps of windows at several scales, by default of GradCAM."""

from xaimed_core.methods.method import Method, Windows
from xaimed_core.methods.reduction.gradcam import GRADCAM

SESS = Method(
    name="sess",
    title="SESS",
    paper="arXiv 2207.01769",
    equation="L = mean of p_w L_w where above 0 over windows w of 12 scales, L_w GradCAM, p_w the softmax score",
    kind=Windows(GRADCAM, scales=12, growth=2 / 7),
    oracle="SESS",
    differs=(
        "grad-cam's windows are squares of the shorter side; here they have the images' size, which the network takes. "
        "A score of one number has no softmax, and weighs as it is."
    ),
)
