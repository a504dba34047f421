"""Labels and masks belong to the image they were made for, or are left out and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xaimed_bench.data import load_images


def paint(folder: Path, *names: str) -> Path:
    """An image at each of these paths, every one with bytes of its own."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([*name.encode()]).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def labels_of(folder: Path, **how) -> tuple[dict[str, str], tuple[str, ...]]:
    """The class of each image by its name, and the findings."""
    batch = load_images(folder, size=8, **how)
    assert batch.labels is not None
    labels = batch.labels.tolist()
    return {n: batch.classes[k] for n, k in zip(batch.names, labels, strict=True)}, batch.findings


# ----------------------------------------------------------------------------------------------------- tables
def table(folder: Path, *rows: str, name: str = "labels.csv") -> None:
    (folder / name).write_text("\n".join(("image_id,dx", *rows)) + "\n")


@pytest.mark.parametrize("form", ["{}", "{}.png", "part_{}/{}.png", "part_{}/{}", " {} "])
def test_a_table_names_images_by_stem_name_or_path(form, tmp_path):
    paint(tmp_path, *(f"part_{k}/{k}.png" for k in range(3)))
    table(tmp_path, *(f"{form.format(k, k)},{dx}" for k, dx in enumerate(("nv", "mel ", "nv"))))
    labels, findings = labels_of(tmp_path)
    assert labels == {"part_0/0.png": "nv", "part_1/1.png": "mel", "part_2/2.png": "nv"}
    assert findings == (), "the folders part_0 to part_2 are no classes: the table decides"


def test_rows_that_give_an_image_two_classes_or_none_leave_it_out(tmp_path):
    paint(tmp_path, *(f"{k}.png" for k in range(6)))
    table(tmp_path, "5,nv", "5.png,mel", "0,nv", "1,nv", "1,mel", "2,mel", "2,mel", "3,", "4")
    labels, findings = labels_of(tmp_path)
    assert labels == {"0.png": "nv", "2.png": "mel"}
    assert findings == (
        "2 rows of labels.csv name no image or no class (first: line 9, line 10)",
        "2 images have rows of different classes in labels.csv; they were left out (first: 1.png, 5.png)",
        "2 images have no row in labels.csv; they were left out (first: 3.png, 4.png)",
    )


def test_a_row_that_fits_several_images_is_given_to_none(tmp_path):
    paint(tmp_path, "a/0.png", "b/0.png", "a/1.png", "a/2.png", "b/3.jpg", "b/3.png")
    table(tmp_path, "0,nv", "1,nv", "a/2.png,mel", "3.jpg,mel", "3.png,nv")
    labels, findings = labels_of(tmp_path)
    assert labels == {"a/1.png": "nv", "a/2.png": "mel", "b/3.jpg": "mel", "b/3.png": "nv"}
    assert findings == (
        "2 images share their name with another, so that one row fits several in labels.csv; they were left out "
        "(first: a/0.png, b/0.png)",
    )


def test_several_tables_are_read_as_one(tmp_path):
    paint(tmp_path, "train/0.png", "test/1.png", "test/2.png")
    table(tmp_path, "0,nv", "2,nv", name="first.csv")
    table(tmp_path, "1,mel", "2,mel", name="second.csv")
    labels, findings = labels_of(tmp_path)
    assert labels == {"train/0.png": "nv", "test/1.png": "mel"}
    assert (
        "1 images have rows of different classes in first.csv, second.csv; they were left out (first: test/2.png)"
        in findings
    )


def test_a_table_that_fits_no_image_or_lacks_its_columns_is_said(tmp_path):
    paint(tmp_path, "0.png", "1.png")
    table(tmp_path, "x0,nv", "x1,mel")
    batch = load_images(tmp_path, size=8)
    assert batch.labels is None
    assert batch.findings == (
        "2 images have no row in labels.csv; no class was read from it (first: 0.png, 1.png)",
        "2 rows of labels.csv name no image of the folder (first: x0, x1)",
        "no image is of the class mel, nv, which is in labels.csv",
    )
    (tmp_path / "labels.csv").write_text("image;class\n0;nv\n")
    (said,) = load_images(tmp_path, size=8).findings
    assert said == "labels.csv tells no classes: it has no columns image_id and dx, separated by commas"


def test_folders_that_contradict_a_table_are_said(tmp_path):
    paint(tmp_path, "nv/0.png", "mel/1.png", "mel/2.png")
    table(tmp_path, "0,nv", "1,nv", "2,mel")
    labels, findings = labels_of(tmp_path)
    assert labels["mel/1.png"] == "nv"
    assert findings == (
        "1 images lie in the folder of another class than the table gives them (first: mel/1.png)",
    )


# ---------------------------------------------------------------------------------------------- class folders
def test_a_split_may_lie_between_a_class_and_its_images(tmp_path):
    paint(tmp_path, *(f"{dx}/{split}/{dx}.png" for dx in ("nv", "mel") for split in ("train", "test")))
    labels, findings = labels_of(tmp_path)
    assert labels == {f"{dx}/{split}/{dx}.png": dx for dx in ("nv", "mel") for split in ("train", "test")}
    assert findings == ()


def test_folders_above_the_classes_are_said_to_be_no_classes(tmp_path):
    paint(tmp_path, "glioma/patient1/1.png", "glioma/patient2/1.png", "none/patient3/1.png")
    labels, findings = labels_of(tmp_path)
    assert labels["glioma/patient1/1.png"] == "patient1"
    assert findings == ("folders above the innermost (glioma, none) were not read as classes",)


def test_classes_above_folders_of_one_name_are_said_to_be_unread(tmp_path):
    paint(tmp_path, "glioma/scans/1.png", "none/scans/1.png")
    batch = load_images(tmp_path, size=8)
    assert batch.labels is None
    assert batch.findings == ("folders above the innermost (glioma, none) were not read as classes",)


def test_classes_that_one_split_lacks_or_spells_otherwise_are_said(tmp_path):
    paint(tmp_path, "Training/No tumor/1.png", "Training/glioma/2.png", "Testing/no_tumor/3.png")
    _, findings = labels_of(tmp_path)
    assert findings == (
        "the classes No tumor and no_tumor differ in spelling alone and were kept apart",
        "no testing image is of the class No tumor, glioma",
        "no training image is of the class no_tumor",
    )


def test_hidden_folders_are_no_classes(tmp_path):
    paint(tmp_path, "a/1.png", "b/1.png", ".ipynb_checkpoints/1-checkpoint.png", "b/.cache/1.png")
    labels, findings = labels_of(tmp_path)
    assert labels == {"a/1.png": "a", "b/1.png": "b"}
    assert findings == ()


def test_images_of_other_formats_are_counted(tmp_path):
    paint(tmp_path, "1.png")
    for name in ("2.tif", "3.TIF", "4.dcm", "notes.txt"):
        (tmp_path / name).touch()
    assert load_images(tmp_path, size=8).findings == (
        "1 .dcm files were left out: jpg, jpeg and png are read",
        "2 .tif files were left out: jpg, jpeg and png are read",
    )
    (tmp_path / "1.png").unlink()
    with pytest.raises(ValueError, match=r"no image in .*images alone; 1 .dcm files were left out"):
        load_images(tmp_path, size=8)


# ------------------------------------------------------------------------------------- in the model's order
def test_labels_follow_the_order_of_the_models_classes(tmp_path):
    paint(tmp_path, *(f"{dx}/{k}.png" for dx in ("glioma", "none", "pituitary") for k in range(2)))
    alphabetical, _ = labels_of(tmp_path)
    trained = ("pituitary", "meningioma", "none", "glioma")
    batch = load_images(tmp_path, size=8, classes=trained)
    assert batch.classes == trained
    assert sorted(batch.labels.tolist()) == [0, 0, 2, 2, 3, 3]
    assert labels_of(tmp_path, classes=trained)[0] == alphabetical


def test_classes_that_the_model_does_not_have_are_refused(tmp_path):
    paint(tmp_path, "glioma/1.png", "No tumor/1.png")
    with pytest.raises(
        ValueError, match=r"No tumor is not among classes: glioma, no_tumor; give names"
    ) as raised:
        load_images(tmp_path, size=8, classes=("glioma", "no_tumor"))
    assert "holds the classes No tumor, glioma" in str(raised.value)
    with pytest.raises(ValueError, match="tells no classes; leave classes out, or give one folder for each"):
        load_images(tmp_path / "glioma", size=8, classes=("glioma", "no_tumor"))
    with pytest.raises(ValueError, match="classes must have different names"):
        load_images(tmp_path, size=8, classes=("glioma", "No tumor", "glioma"))


# ------------------------------------------------------------------------------------------------------ masks
def mask(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((12, 16), np.uint8)
        pixels[: 1 + len(name) % 7] = 255
        Image.fromarray(pixels).save(path)


def masked(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    batch = load_images(folder, size=8)
    known = batch.has_mask if batch.has_mask is not None else torch.zeros(len(batch), dtype=torch.bool)
    return {n for n, has in zip(batch.names, known.tolist(), strict=True) if has}, batch.findings


def test_a_mask_in_the_folder_of_another_class_is_not_taken_by_its_stem(tmp_path):
    paint(tmp_path, "glioma/1.png", "none/2.png")
    mask(tmp_path, "masks/none/1.png")
    assert masked(tmp_path) == (
        set(),
        ("1 masks fit no image, or several, and were left out (first: masks/none/1.png)",),
    )


def test_masks_of_equal_names_in_two_splits_go_to_their_own(tmp_path):
    paint(tmp_path, *(f"{split}/{dx}/1.png" for split in ("Training", "Testing") for dx in ("a", "b")))
    mask(tmp_path, "masks/Training/a/1.png", "masks/Testing/b/1_mask.png")
    assert masked(tmp_path) == ({"Training/a/1.png", "Testing/b/1.png"}, ())


def test_two_masks_of_one_image_are_both_left_out(tmp_path):
    paint(tmp_path, "images/1.png", "images/2.png")
    mask(tmp_path, "masks/1.png", "masks/1_segmentation.png", "masks/2.png")
    assert masked(tmp_path) == (
        {"images/2.png"},
        ("1 images have several masks, of which none was taken (first: images/1.png)",),
    )


def test_masks_beside_their_images_are_no_images(tmp_path):
    """As in BUSI: "benign (1).png", "benign (1)_mask.png" and, where there are two lesions, "..._mask_1.png"."""
    paint(tmp_path, "benign/b (1).png", "benign/b (2).png", "normal/n (1).png", "normal/gas_mask.png")
    mask(tmp_path, "benign/b (1)_mask.png", "benign/b (2)_mask.png", "benign/b (2)_mask_1.png")
    labels, _ = labels_of(tmp_path)
    assert labels == {
        "benign/b (1).png": "benign",
        "benign/b (2).png": "benign",
        "normal/n (1).png": "normal",
        "normal/gas_mask.png": "normal",
    }
    assert masked(tmp_path) == (
        {"benign/b (1).png"},
        ("1 images have several masks, of which none was taken (first: benign/b (2).png)",),
    )


@pytest.mark.parametrize("name", ["mask", "Segmentation", "labels", "ground_truth"])
def test_a_folder_of_masks_is_no_class_however_it_is_called(name, tmp_path):
    paint(tmp_path, "images/1.png", "images/2.png")
    mask(tmp_path, f"{name}/1.png", f"{name}/2.png")
    batch = load_images(tmp_path, size=8)
    assert batch.classes == ()
    assert batch.has_mask.tolist() == [True, True]
