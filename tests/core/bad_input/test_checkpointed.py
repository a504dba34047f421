"""Where autograd cannot follow, a plain sentence says so and names what needs no gradient."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from xaimed_core import explain


class Checkpointed(nn.Module):
    """The part behind the layer is run again in the backward, in the way that autograd's own functions refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.late, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.late, self.layer(x), use_reentrant=True)
        return self.head(torch.relu(x).mean((2, 3)))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
def test_what_autograd_cannot_follow_is_said_plainly_and_ablationcam_needs_no_gradient():
    model, images = Checkpointed().eval(), torch.randn(2, 3, 9, 9)
    with pytest.raises(
        ValueError, match=r"cannot follow the score back to layer layer.*use_reentrant.*ablationcam"
    ):
        explain(model, images, "gradcam", "layer", 1)
    assert explain(model, images, "ablationcam", "layer", 1, layout="infer").raw["ablationcam"].any()
