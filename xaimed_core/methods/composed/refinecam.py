"""RefineCAM (arXiv 2605.14641): what the maps of all layers mark; by default of GradCAM++, as in grad-cam."""

from xaimed_core.methods.method import Method, Product
from xaimed_core.methods.reduction.gradcampp import GRADCAM_PLUS_PLUS

REFINECAM = Method(
    name="refinecam",
    title="RefineCAM",
    paper="arXiv 2605.14641",
    equation="L = prod_l up(s(relu(L_l))), L_l GradCAM++ at layer l, s the min-max scaling",
    kind=Product(GRADCAM_PLUS_PLUS),
    oracle="RefineCAM",
    divides_by_sum=GRADCAM_PLUS_PLUS.divides_by_sum,
)
