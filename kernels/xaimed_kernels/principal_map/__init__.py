"""The first principal component of (weighted) activation maps: EigenCAM and EigenGradCAM."""

from __future__ import annotations

from torch import Tensor

from xaimed_kernels.backends import Backend, choose_backend, plain_arithmetic
from xaimed_kernels.weighted_map import check_activations_and_weights


def principal_map(
    activations: Tensor, weights: Tensor | None = None, *, backend: Backend | None = None
) -> Tensor:
    """Signed map ``[n, *spatial]``: the projection of positions on their first principal direction.

    ``X = w * a`` read as positions x channels, each column centred over positions; the map is ``X v1 =
    sigma_1 u_1`` of its singular value decomposition (EigenCAM: Muhammad and Yeasin 2020, arXiv 2008.00299).
    ``weights`` None, ``[n, c]`` or ``[n, c, *spatial]`` (EigenGradCAM: the gradients).

    A singular vector has no sign of its own: taken is the one whose inner product with ``sum_k w_k a_k`` is positive;
    where that product is below 1e-4 of the two norms, the one with ``|min| <= max`` (Seg-Eigen-CAM). A map of no
    variation is 0; an image with NaN or infinity gets a map of NaN. Nothing here is differentiable.

    Raises ValueError for shapes or devices that do not fit, TypeError for dtypes.
    """
    check_activations_and_weights(activations, activations if weights is None else weights)
    match choose_backend(activations, backend):
        case "reference":
            from xaimed_kernels.principal_map.reference import principal_map_reference as run
        case "cpu":
            from xaimed_kernels.principal_map.cpu import principal_map_cpu as run
        case "triton":
            from xaimed_kernels.principal_map.launch import principal_map_triton as run
    with plain_arithmetic(activations.device):
        return run(activations, weights)
