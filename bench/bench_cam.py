"""What one explained batch costs: every method of xaimed beside grad-cam's, in time, memory and fidelity."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import pytest

from xaimed_bench.device import device_named
from xaimed_bench.models import MODELS
from xaimed_bench.questions.explaining import explaining
from xaimed_core import METHODS
from xaimed_core.methods import PAPER, ChannelProbe

TOGETHER = tuple(m for m in PAPER if m != "ablationcam")  # one call, and no forward pass per channel


@dataclass(frozen=True)
class Cam:
    """One value per axis, all short strings: they are the ids that later comparisons join on."""

    method: str
    model: str = "resnet50"
    layer: str = "last"
    batch: str = "4"
    dtype: str = "fp32"
    size: str = "224"


def kind(method: str) -> type:
    return type(METHODS[method].kind)


def cases(profile: str, *, cuda: bool) -> list[Cam]:
    """The cases of a profile, the most important first, for time may run out.

    Later axes vary around the paper's ResNet-50.
    A GPU gets batches that fill it, and AblationCAM at full size, which takes grad-cam minutes per image on a CPU.
    """
    paper = [name for name, spec in MODELS.items() if spec.paper]
    whole = [m for m, method in METHODS.items() if method.oracle and method.of_one_pass]
    probing = [m for m in METHODS if kind(m) is ChannelProbe]
    batch = "64" if cuda else "4"
    probed = [Cam(m, batch="1") if cuda else Cam(m, model="resnet18", batch="1", size="96") for m in probing]
    match profile:
        case "gate":
            if cuda:
                return [Cam(m, batch=batch) for m in whole] + probed
            return [Cam(m, "resnet18", batch=batch, size="128") for m in (*whole, *probing)]
        case "quick":
            return [
                *(Cam(m, batch=batch) for m in whole if m in PAPER),
                *probed,
                Cam("together", batch=batch),
                *(Cam("xgradcam", model=name, batch=batch) for name in paper if name != "resnet50"),
                *(Cam(m, layer="earlier", batch=batch) for m in ("xgradcam", "layercam")),
                *(Cam(m, batch=batch) for m in whole if m not in PAPER),
            ]
        case _:
            batches = tuple(dict.fromkeys(("1", batch)))
            at = [(name, layer) for name in paper for layer in MODELS[name].layers]
            return [
                *(Cam(m, name, layer, each) for name, layer in at for each in batches for m in whole),
                *(Cam("together", batch=each) for each in batches),
                *(Cam(m, batch="1") for m in probing),
                *(
                    Cam(m, name, layer, batch="1", size="96")
                    for name, layer in at
                    for m in probing
                    if layer in MODELS[name].nonnegative
                ),
            ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "method" in metafunc.fixturenames:
        config = metafunc.config
        cuda = device_named(config.getoption("--device")).type == "cuda"
        chosen = [astuple(case) for case in cases(config.getoption("--profile"), cuda=cuda)]
        metafunc.parametrize("method, model, layer, batch, dtype, size", chosen)


def bench_explaining_a_batch(
    measure, subjects, asked_peers, pytestconfig, method, model, layer, batch, dtype, size
):
    subject = subjects.get(model, layer, batch=int(batch), dtype=dtype, size=int(size))
    methods = TOGETHER if method == "together" else (method,)
    gate = pytestconfig.getoption("--profile") == "gate"
    with explaining(
        subject, methods, reference="checks" if gate else "timed", beside=asked_peers
    ) as question:
        measure(**question)
