"""FEM: Fuad et al. 2020, IPTA, the k sigma rule with k = 2."""

from torch import Tensor

from xaimed_core.methods.method import Method, Weighing

SIGMAS = 2.0


def weights(a: Tensor, k: float = SIGMAS) -> Tensor:
    """The share of positions ``[n, c]`` of activations ``[n, c, s]`` that lie above the channel's mean + k sigma.

    Both are about the mean as it is rounded: a channel that is the same everywhere has no position above it.
    """
    apart = a - a.mean(2, keepdim=True)
    deviation = apart.square().mean(2, keepdim=True).sqrt()
    return (apart > k * deviation).to(a.dtype).mean(2)


FEM = Method(
    name="fem",
    title="FEM",
    paper="10.1109/IPTA50016.2020.9286629",
    equation="w_k = share of positions with A_k > mean A_k + 2 std A_k",
    kind=Weighing(weights),
    oracle="FEM",
)
