"""EigenCAM: Muhammad and Yeasin 2020 (arXiv 2008.00299), with the columns centred as grad-cam does."""

from xaimed_core.methods.method import Method, Projection

EIGENCAM = Method(
    name="eigencam",
    title="EigenCAM",
    paper="arXiv 2008.00299",
    equation="L = X v_1, X = A with centred columns, v_1 its first right singular vector",
    kind=Projection(by_gradient=False),
    oracle="EigenCAM",
    differs="grad-cam leaves the sign to the SVD; here the map has a positive inner product with sum_k A_k.",
)
