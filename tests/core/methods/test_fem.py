"""FEM weighs places that stand out: a channel that is the same everywhere has none, however its mean is rounded."""

import torch

from xaimed_core.methods.weighing.fem import weights


def test_a_channel_that_is_the_same_everywhere_weighs_nothing():
    values = torch.randn(1, 500, 1, generator=torch.Generator().manual_seed(0))
    for places in (3, 9, 16, 49, 196):
        assert not weights(values.expand(1, 500, places).contiguous()).any()


def test_two_places_in_sixteen_stand_out():
    activations = torch.full((1, 1, 16), 0.1)
    activations[..., 3:5] = 1.0
    torch.testing.assert_close(weights(activations), torch.tensor([[2 / 16]]))
