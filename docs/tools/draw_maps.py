"""The picture of the README: phantoms, their lesions, and maps of a network that learnt to find lesions in phantoms.

python docs/tools/draw_maps.py        writes docs/maps-over-phantoms.png; some minutes, most of them training
"""

from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from xaimed_bench.data import phantoms
from xaimed_core import explain
from xaimed_core.methods import PAPER

SIZE, TRAINED_ON, EPOCHS, BATCH = 128, 512, 8, 32
COLOURS = 200
PICTURE = Path(__file__).parents[1] / "maps-over-phantoms.png"


def train() -> nn.Module:
    """A ResNet-18 that tells phantoms with a lesion from those without."""
    torch.manual_seed(0)
    made = phantoms("mri", TRAINED_ON, size=SIZE, seed=1, healthy=0.5)
    model = resnet18(num_classes=2).train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * TRAINED_ON // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(TRAINED_ON).split(BATCH):
            functional.cross_entropy(model(made.images[rows]), made.labels[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return model.eval()


def draw(model: nn.Module) -> None:
    """The first new phantoms that the network finds ill, with their lesions outlined."""
    new = phantoms("mri", 16, size=SIZE, seed=2)
    with torch.no_grad():
        found = (model(new.images).argmax(1) == 1).nonzero().squeeze(1)
    print(f"lesions found in {len(found)} of {len(new)} new phantoms")
    rows = found[:2]
    e = explain(model, new.images[rows], PAPER, layer=model.layer3, targets=1)
    figure = e.show(new.pixels[rows])
    for axis, lesion in zip(figure.axes[:: 1 + len(PAPER)], new.masks[rows], strict=True):
        axis.contour(lesion, levels=[0.5], colors="deepskyblue", linewidths=1)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=64)
    Image.open(drawn).convert("RGB").quantize(COLOURS, kmeans=COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    draw(train())
