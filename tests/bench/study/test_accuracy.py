"""How often a model is right is said only where its classes and the images' are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from xaimed_bench.study import trained
from xaimed_bench.study.split import split_of
from xaimed_bench.study.trained import Recipe, Trainer
from xaimed_bench.study.training import accuracy

CLASSES = ("glioma", "none", "pituitary")


class Fixed(nn.Module):
    """Answers the top class that each image's first pixel names."""

    def __init__(self, count: int, names: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.count = count
        if names is not None:
            self.classes = names

    def forward(self, images: Tensor) -> Tensor:
        top = images[:, 0, 0, 0]
        return torch.where(
            top.isnan()[:, None], top[:, None], nn.functional.one_hot(top.nan_to_num().long(), self.count)
        )


def images_of(*classes: float) -> Tensor:
    return torch.tensor(classes)[:, None, None, None].expand(-1, 3, 4, 4)


def test_accuracy_is_the_part_that_is_right():
    images, labels = images_of(0, 1, 2, 2), torch.tensor([0, 1, 2, 0])
    for model in (Fixed(3), Fixed(3, CLASSES)):
        assert accuracy(model, images, labels, CLASSES) == 0.75


@pytest.mark.parametrize(
    ("model", "labels", "words"),
    [
        (Fixed(5), [0, 1], r"gives \(5,\) scores an image, and there are 3 classes: glioma, none, pituitary"),
        (Fixed(3, ("none", "glioma", "pituitary")), [0, 1], r"model's classes are none, glioma, .*the images' glioma"),
        (Fixed(3, ("a", "b", "c")), [0, 1], r"load the images in the model's order: load_images\(folder, classes="),
        (Fixed(3), [0, 3], r"labels must be numbers of the 3 classes, got \[0, 3\]"),
        (Fixed(3), [-1, 0], r"labels must be numbers of the 3 classes, got \[-1, 0\]"),
    ],
)  # fmt: skip
def test_other_classes_than_the_models_are_refused(model, labels, words):
    with pytest.raises(ValueError, match=words):
        accuracy(model, images_of(0, 1), torch.tensor(labels), CLASSES)


def test_no_images_and_nan_have_no_accuracy():
    with pytest.raises(ValueError, match="at least one image"):
        accuracy(Fixed(3), images_of()[:0], torch.tensor([], dtype=torch.int64), CLASSES)
    with pytest.raises(ValueError, match="the model answers NaN"):
        accuracy(Fixed(3), images_of(0, float("nan")), torch.tensor([0, 0]), CLASSES)


# -------------------------------------------------------------------------------------------------- folders
@pytest.fixture
def scans(tmp_path) -> Path:
    random = np.random.default_rng(0)
    for name in ("Training/a/1", "Training/a/2", "Training/b/3", "Testing/a/4", "Testing/b/5"):
        path = tmp_path / "scans" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path)
    return tmp_path / "scans"


def test_a_class_that_is_tested_and_never_learnt_is_refused(scans):
    (scans / "Testing" / "b").rename(scans / "Testing" / "B")
    with pytest.raises(
        ValueError, match="has no training image of the class B, which is tested; name its folder"
    ):
        split_of(scans, size=16, train=None, test=4, seed=0)


def test_what_is_wrong_with_a_folder_is_said_before_anything_is_learnt(scans, tmp_path):
    (scans / "Training" / "a" / "6.png").write_bytes(b"no image")
    assert "1 images could not be read" in split_of(scans, size=16, train=None, test=4, seed=0).findings[-1]
    said: list[str] = []
    Trainer(scans, "scans", tmp_path, Recipe(real=2, phantoms=2, tested=1, size=16), say=said.append)
    assert "note: 1 images could not be read and were left out" in said[-1]


def test_weights_learnt_on_other_names_or_labels_are_not_taken_for_these(scans, tmp_path, monkeypatch):
    def learnt() -> Path:
        recipe = Recipe(real=3, phantoms=2, tested=1, judged=1, size=32)
        return (
            Trainer(scans, "scans", tmp_path / "kept", recipe, say=lambda _: None).get("resnet18").checkpoint
        )

    monkeypatch.setattr(trained.Trainer, "_train", lambda self, *_: trained.MODELS["resnet18"].build(4))
    files = [learnt(), learnt()]
    for folder in ("Training", "Testing"):  # the same images in the same order, under another name
        (scans / folder / "b").rename(scans / folder / "c")
    files.append(learnt())
    assert files[0] == files[1] != files[2]
