"""What the tradeoff's bench measures besides time: parts of grad-cam's AblationCAM, and ceilings."""

import pytest
import torch
from torch import nn

from xaimed_bench.measure.case import measure_case
from xaimed_bench.measure.peers import some_ablations
from xaimed_bench.questions.ceiling import count_ceiling
from xaimed_core import explain
from xaimed_reports.store.records import Ceiling, Part
from xaimed_reports.store.rows import Untimed


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).eval()


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def forwards_of(net):
    seen = []
    net[0].register_forward_hook(lambda _m, _i, output: seen.append(len(output)))
    return seen


@pytest.mark.parametrize(("batches", "counts"), [(2, [4, 4, 0]), (4, [8, 4, 4]), (6, [8, 8, 8])])
def test_some_ablation_batches_are_run_and_no_other(net, images, batches, counts):
    classes = [0, 1, 2]
    exact = explain(net, images, "ablationcam", "1", classes, semantics="grad-cam").weights["ablationcam"]
    seen = forwards_of(net)
    with some_ablations(net, "1", images, classes, batches=batches, batch_size=4) as weights:
        for _ in range(2):
            found = weights()
    made = ~found.isnan()
    assert made.sum(1).tolist() == counts
    assert torch.allclose(found[made], exact[made], atol=1e-5)
    assert seen.count(4) == 2 * batches
    assert isinstance(net[1], nn.ReLU)


def test_channels_below_zero_are_ablated_to_zero_where_asked(net, images):
    net[1], classes = nn.Tanh(), [0, 1, 2]  # a ReLU would read zero and less than zero alike
    exact = explain(net, images, "ablationcam", "0", classes, semantics="grad-cam").weights["ablationcam"]
    found = {}
    for to_zero in (True, False):
        with some_ablations(net, "0", images, classes, batches=6, batch_size=4, to_zero=to_zero) as weights:
            found[to_zero] = weights()
    assert torch.allclose(found[True], exact, atol=1e-5)
    assert not torch.allclose(found[False], exact, atol=1e-2)


def test_a_ceiling_counts_every_multiply_add_once(net, images):
    found = count_ceiling(lambda: net(images), lambda: [net(images), net(images[:1])], channels=8)
    conv, linear = 2 * 3 * 8 * 9 * 16 * 16, 2 * 8 * 3
    assert found == Ceiling(8, 3 * (conv + linear), 4 * (conv + linear))
    assert found.times == 6


def test_what_else_is_known_of_ours_stands_in_its_row(ask, plan):
    arms = {"ours": lambda: torch.rand(1, 8, 8), "few": lambda: torch.rand(1, 8, 8)}
    question = ask(
        arms=arms,
        truth=lambda: torch.rand(1, 8, 8),
        allowed=2.0,
        parts={"few": Part("step", 2, 64)},
        ceiling=lambda: Ceiling(8, 10, 20),
    )
    rows = {row.impl: row for row in measure_case(question, plan, torch.device("cpu"))}
    assert (rows["ours"].part, rows["ours"].ceiling) == (None, Ceiling(8, 10, 20))
    assert (rows["few"].part, rows["few"].ceiling) == (Part("step", 2, 64), None)
    unmeasured = {row.impl: row for row in measure_case(question, None, torch.device("cpu"))}
    assert {type(row) for row in unmeasured.values()} == {Untimed}
