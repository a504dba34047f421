"""What holds on every device: the same tests on the CPU and, where there is one, on a GPU."""

import copy
from collections.abc import Generator

import pytest
import torch
from torch import Tensor, nn

from tests.waits import watching_waits
from xaimed_bench.data import phantoms
from xaimed_bench.models import MODELS, build_model
from xaimed_core import explain, road
from xaimed_core.compat import AblationCAM

CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
METHODS_HERE = ("gradcam++", "xgradcam", "layercam", "eigengradcam", "ablationcam")
# where rounding moves the result smoothly: nothing but a mean follows ResNet's last layer, and SiLU has no kink
CASES = [("resnet18", "last"), ("efficientnet_b0", "last"), ("efficientnet_b0", "earlier")]


@pytest.fixture(autouse=True)
def full_float32() -> Generator[None]:
    """Convolutions in float32 on a GPU as well, not in TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module", params=CASES, ids=" ".join)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, str, Tensor]:
    name, layer = request.param
    return build_model(name), MODELS[name].layers[layer], phantoms("mri", 2, size=64).images


@pytest.mark.parametrize("device", DEVICES)
def test_maps_are_those_of_float64_and_stay_on_the_device(case, device):
    model, layer, images = case
    # XGradCAM and GradCAM++ divide by sums, which cancel where a layer's values have both signs: rounding shows
    methods = METHODS_HERE if layer != MODELS["efficientnet_b0"].layers["earlier"] else METHODS_HERE[2:]
    exact = explain(copy.deepcopy(model).double(), images.double(), methods, layer, targets=0)
    found = explain(copy.deepcopy(model).to(device), images.to(device), methods, layer, targets=0)
    assert found.logits.device.type == device
    for method in methods:
        assert found.maps[method].device.type == device
        assert exact.maps[method].amax() == 1
        torch.testing.assert_close(found.maps[method].cpu(), exact.maps[method].float(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_input_gives_the_same_bits(case, device):
    model, layer, images = copy.deepcopy(case[0]).to(device), case[1], case[2].to(device)
    first, second = (explain(model, images, METHODS_HERE, layer) for _ in range(2))
    for method in METHODS_HERE:
        assert torch.equal(first.maps[method], second.maps[method])


@pytest.mark.parametrize("device", DEVICES)
def test_under_autocast_maps_and_weights_are_float32_and_near(device):
    model, layer = build_model("resnet18").to(device), MODELS["resnet18"].layers["last"]
    images = phantoms("mri", 2, size=64).images.to(device)
    exact = explain(model, images, ("xgradcam", "ablationcam"), layer, targets=0)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = explain(model, images, ("xgradcam", "ablationcam"), layer, targets=0)
    for method, maps in found.maps.items():
        weights, expected = found.weights[method], exact.weights[method]
        assert isinstance(weights, Tensor)
        assert isinstance(expected, Tensor)
        assert maps.dtype == weights.dtype == torch.float32
        assert 0 < (weights - expected).norm() < 0.1 * expected.norm()  # bfloat16 has 8 bits


@pytest.mark.parametrize("device", DEVICES)
def test_road_scores_as_a_float64_network_does(case, device):
    model, layer, images = case
    maps = explain(model, images, "layercam", layer, targets=0).maps["layercam"]
    exact = road(copy.deepcopy(model).double(), images.double(), maps.double(), targets=0, noise=0.0)
    found = road(copy.deepcopy(model).to(device), images.to(device), maps.to(device), targets=0, noise=0.0)
    assert found.score.device.type == device
    scale = exact.curve.abs().amax()
    torch.testing.assert_close(found.score.cpu(), exact.score, rtol=0, atol=1e-3 * scale.item())


@pytest.mark.parametrize("device", DEVICES)
def test_the_mirror_of_grad_cam_gives_numpy_from_any_device(case, device):
    model, layer, images = case
    on_device = copy.deepcopy(model).to(device)
    maps = AblationCAM(on_device, [on_device.get_submodule(layer)])(images.to(device), targets=None)
    here = AblationCAM(model, [model.get_submodule(layer)])(images, targets=None)
    assert maps.shape == (len(images), *images.shape[2:])
    assert abs(maps - here).max() <= 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_host_waits_for_a_gpu_only_to_read_the_findings(case):
    model, layer, images = copy.deepcopy(case[0]).cuda(), case[1], case[2].cuda()
    methods = METHODS_HERE[:-1]
    explain(model, images, methods, layer)
    with watching_waits() as waits:
        explain(model, images, methods, layer)
    assert waits[1:] == []
