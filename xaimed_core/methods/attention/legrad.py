"""LeGrad: Bousselham et al. 2024 (arXiv 2404.03214): how the score read at each block changes with its attention."""

from xaimed_core.methods.method import Attention, Method

LEGRAD = Method(
    name="legrad",
    title="LeGrad",
    paper="arXiv 2404.03214",
    equation="L = mean over blocks, heads, queries of relu(d y_l / d P_l), y_l the score of block l's mean token",
    kind=Attention(by_gradient=True),
)
