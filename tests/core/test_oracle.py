"""Every method of the table against a second, slow writing of its paper in NumPy loops, in float64."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaimed_core import METHODS, explain
from xaimed_core.methods.weighing.randomcam import weights as random_weights

Array = np.ndarray


def gradcam(a: Array, g: Array) -> Array:
    return sum(g[k].sum() / g[k].size * a[k] for k in range(len(a)))


def gradcam_plus_plus(a: Array, g: Array) -> Array:
    total = np.zeros(a.shape[1:])
    for k in range(len(a)):
        weight = 0.0
        for gi in g[k].ravel():
            if gi > 0:  # eq. 7's ReLU; eq. 19's alpha
                weight += gi**2 / (2 * gi**2 + a[k].sum() * gi**3) * gi
        total += weight * a[k]
    return total


def xgradcam(a: Array, g: Array) -> Array:
    total = np.zeros(a.shape[1:])
    for k in range(len(a)):
        if abs(a[k].sum()) > 1e-6 * np.abs(a[k]).sum():
            total += (a[k] * g[k]).sum() / a[k].sum() * a[k]
    return total


def layercam(a: Array, g: Array) -> Array:
    total = np.zeros(a.shape[1:])
    for k, i, j in np.ndindex(*a.shape):
        total[i, j] += max(g[k, i, j], 0.0) * a[k, i, j]
    return total


def hirescam(a: Array, g: Array) -> Array:
    total = np.zeros(a.shape[1:])
    for k, i, j in np.ndindex(*a.shape):
        total[i, j] += g[k, i, j] * a[k, i, j]
    return total


def first_component(x: Array) -> Array:
    columns = x.reshape(len(x), -1).T
    centred = columns - columns.mean(0)
    _, _, right = np.linalg.svd(centred, full_matrices=False)
    component = centred @ right[0]
    evidence = x.sum(0).ravel()
    return (component * np.sign(component @ evidence)).reshape(x.shape[1:])


def elementwise(a: Array, g: Array) -> Array:
    total = np.zeros(a.shape[1:])
    for k, i, j in np.ndindex(*a.shape):
        total[i, j] += max(a[k, i, j] * g[k, i, j], 0.0)
    return total


def farthest_positive(component: Array) -> Array:
    return component * np.sign(component.ravel()[np.abs(component).argmax()])


def kernel_component(a: Array) -> Array:
    """By the kernel of each pair of positions and the projection on the centred kernel's first eigenvector."""
    places = a.reshape(len(a), -1).T
    places = places - places.mean(0)
    kernel = np.array([[np.tanh(x @ y / len(a) + 1) for y in places] for x in places])
    centring = np.eye(len(places)) - 1 / len(places)
    centred = centring @ kernel @ centring
    values, vectors = np.linalg.eigh(centred)
    projected = centred @ vectors[:, -1] / np.sqrt(values[-1])
    return farthest_positive(projected).reshape(a.shape[1:])


def feature_explanation(a: Array, _g: Array) -> Array:
    total = np.zeros(a.shape[1:])
    for channel in a:
        bound = channel.mean() + 2 * np.sqrt(((channel - channel.mean()) ** 2).mean())
        total += sum(value > bound for value in channel.ravel()) / channel.size * channel
    return total


def randomly_weighted(a: Array, _g: Array) -> Array:
    """The draw itself is tested in `test_random_weights_are_uniform_and_the_same_at_every_call`."""
    drawn = random_weights(torch.empty(1, len(a), 1)).numpy()[0]
    return np.einsum("k,kij->ij", drawn.astype(np.float64), a)


GRADIENT_ORACLES = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
    "hirescam": hirescam,
    "eigencam": lambda a, g: first_component(a),
    "eigengradcam": lambda a, g: first_component(a * g),
    "gradcamelementwise": elementwise,
    "finercam": gradcam,
    "segeigencam": lambda a, g: farthest_positive(first_component(a * np.abs(g))),
    "kpcacam": lambda a, g: kernel_component(a),
    "fem": feature_explanation,
    "randomcam": randomly_weighted,
}


def finer_score(rows: Tensor, target: int) -> Tensor:
    """FinerCAM's: the probabilities of the three classes of nearest score weigh how far the target is ahead of them."""
    total = 0.0
    for row in rows:
        apart = {
            c: abs(float(row[c].detach() - row[target].detach())) for c in range(len(row)) if c != target
        }
        nearest = sorted(apart, key=apart.__getitem__)[:3]
        chance = row.softmax(0)
        above = sum(chance[c] * (row[target] - row[c]) for c in nearest)
        total = total + above / sum(chance[c] for c in nearest)
    return total


def activation_and_gradient(
    net: nn.Module, layer: str, images: Tensor, target: int, *, finer: bool = False
) -> tuple[Array, Array]:
    """By ordinary hooks and a backward through the whole network in float64."""
    kept: dict[str, Tensor] = {}

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        output.retain_grad()
        kept["a"] = output
        return output.clone()

    handle = net.get_submodule(layer).register_forward_hook(keep)
    rows = net(images)
    (finer_score(rows, target) if finer else rows[:, target].sum()).backward()
    handle.remove()
    assert kept["a"].grad is not None
    return kept["a"].detach().numpy(), kept["a"].grad.numpy()


def brute_force_scores(net: nn.Module, layer: str, images: Tensor, target: int) -> tuple[Array, Array]:
    """y and y_k by one full forward per channel."""
    module = net.get_submodule(layer)
    with torch.no_grad():
        whole = net(images)[:, target].numpy()
        channels = []
        for k in range(module.out_channels):
            handle = module.register_forward_hook(
                lambda _m, _i, out, k=k: out.index_fill(1, torch.tensor(k), 0.0)
            )
            channels.append(net(images)[:, target].numpy())
            handle.remove()
    return whole, np.stack(channels, 1)


@pytest.mark.parametrize("layer", ["block", "late"])
@pytest.mark.parametrize("method", GRADIENT_ORACLES)
def test_a_raw_map_is_its_papers_formula(net, images, method, layer):
    exact = copy.deepcopy(net).double()
    a, g = activation_and_gradient(
        exact, layer, images.double(), target=2, finer=METHODS[method].slope == "finer"
    )
    expected = np.stack([GRADIENT_ORACLES[method](a[i], g[i]) for i in range(len(a))])
    raw = explain(net, images, method, layer, targets=2).raw[method]
    assert np.abs(expected).max() > 1e-3
    assert np.abs(raw.numpy() - expected).max() <= 2e-5 * np.abs(expected).max()  # float32 network in front


@pytest.mark.parametrize("layer", ["block", "late"])
def test_ablationcam_weighs_a_channel_by_what_the_score_loses(net, images, layer):
    whole, without = brute_force_scores(copy.deepcopy(net).double(), layer, images.double(), target=2)
    drops = whole[:, None] - without
    found = explain(net, images, "ablationcam", layer, targets=2)
    assert np.abs(drops).max() > 1e-2
    assert np.abs(found.weights["ablationcam"].numpy() - drops).max() <= 2e-5 * np.abs(drops).max()
    divided = explain(net, images, "ablationcam", layer, targets=2, semantics="grad-cam")
    np.testing.assert_allclose(
        divided.weights["ablationcam"].numpy(),
        drops / whole[:, None],
        atol=2e-5 * np.abs(drops / whole[:, None]).max(),
    )


def test_scorecam_weighs_a_channel_by_the_score_of_the_masked_image(net, images):
    found = explain(net, images, "scorecam", "late", targets=2)
    exact = copy.deepcopy(net).double()
    a, _ = activation_and_gradient(exact, "late", images.double(), target=2)
    for i in range(len(images)):
        scores = []
        for channel in a[i]:
            up = torch.nn.functional.interpolate(
                torch.from_numpy(channel)[None, None], size=(20, 24), mode="bilinear", align_corners=False
            )
            spread = up.max() - up.min()
            mask = (up - up.min()) / spread if spread > 0 else up * 0
            with torch.no_grad():
                scores.append(exact(images[i : i + 1].double() * mask)[0, 2].item())
        expected = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(found.weights["scorecam"][i].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("layer", ["block", "late"])
def test_shapleycam_takes_half_the_curvature_along_the_activations_off_the_gradient(net, images, layer):
    """H A as the difference of the gradients at A (1 + e) and A (1 - e), in float64."""
    exact, batch = copy.deepcopy(net).double(), images.double()
    step = 1e-5

    def score(rows: Tensor) -> Tensor:
        return rows[..., 2] * rows.softmax(-1)[..., 2] ** 2

    def slope(factor: float) -> Tensor:
        kept: list[Tensor] = []

        def scale(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            kept.append((output.detach() * factor).requires_grad_())
            return kept[0].clone()

        handle = exact.get_submodule(layer).register_forward_hook(scale)
        (gradient,) = torch.autograd.grad(score(exact(batch)).sum(), kept[0])
        handle.remove()
        return gradient

    curved = (slope(1 + step) - slope(1 - step)) / (2 * step)
    expected = (slope(1.0) - curved / 2).mean((2, 3))
    found = explain(net, images, ("shapleycam", "gradcam"), layer, targets=score)
    assert (curved.mean((2, 3)) / 2).abs().max() > 1e-2 * expected.abs().max(), (
        "the score is as good as linear"
    )
    weights = found.weights["shapleycam"].double()
    torch.testing.assert_close(weights, expected, rtol=0, atol=2e-4 * expected.abs().max().item())
    alone = explain(net, images, "gradcam", layer, targets=score)
    assert torch.equal(found.raw["gradcam"], alone.raw["gradcam"])


def test_random_weights_are_uniform_and_the_same_at_every_call():
    a = torch.zeros(3, 4096, 1)
    drawn = random_weights(a)
    assert drawn.shape == (3, 4096)
    assert torch.equal(drawn, random_weights(a[:1]).expand(3, -1))
    sorted_ = drawn[0].sort().values
    assert (sorted_ - torch.linspace(-1, 1, 4096)).abs().max() < 0.05
