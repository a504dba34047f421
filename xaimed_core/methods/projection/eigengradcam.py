"""EigenGradCAM: EigenCAM (arXiv 2008.00299) of gradient x activation; defined by the grad-cam package, no paper."""

from xaimed_core.methods.method import Method, Projection

EIGENGRADCAM = Method(
    name="eigengradcam",
    title="EigenGradCAM",
    paper="grad-cam package",
    equation="L = X v_1, X = g A with centred columns, v_1 its first right singular vector",
    kind=Projection(by_gradient=True),
    oracle="EigenGradCAM",
    differs="grad-cam leaves the sign to the SVD; here the map has a positive inner product with sum_k g_k A_k.",
)
