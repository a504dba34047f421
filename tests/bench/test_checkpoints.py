"""A checkpoint gives exactly its weights, or is refused by name: the file, the tensor, what was found, what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from xaimed_bench.checkpoints import read_checkpoint
from xaimed_bench.models import MODELS, build_model, classifier_of

NAME = "mobilenet_v3_small"
HEAD = "classifier.3.weight"
WEIGHT = "features.0.0.weight"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return build_model(NAME, classes=7, seed=11)


@pytest.fixture
def state(trained) -> State:
    return {name: tensor.clone() for name, tensor in trained.state_dict().items()}


def refusal(file: Path, content: object) -> str:
    """The words in which a checkpoint with ``content`` is refused, which begin with the file's name."""
    torch.save(content, file)
    return refusal_of(file)


def refusal_of(file: Path) -> str:
    with pytest.raises(ValueError, match=rf"^{file.name}") as raised:
        build_model(NAME, checkpoint=file)
    said = str(raised.value)
    assert said.count("\n") <= 2
    return said


# ---------------------------------------------------------------------------------------------- what is read
def wrappers() -> dict[str, Callable[[State], object]]:
    def prefixed(state: State, prefix: str) -> State:
        return {f"{prefix}{k}": v for k, v in state.items()}

    return {
        "plain": lambda state: state,
        "state_dict": lambda state: {"state_dict": state, "epoch": 30},
        "model": lambda state: {"model": state, "optimizer": {}},
        "module-prefix": lambda state: prefixed(state, "module."),
        "lightning": lambda state: {"state_dict": prefixed(state, "model."), "hyper_parameters": {"lr": 0.1}},
        "net-in-parallel": lambda state: prefixed(state, "net.module."),
        "compiled-in-parallel": lambda state: {"model_state_dict": prefixed(state, "module._orig_mod.")},
        "parameters": lambda state: {
            k: nn.Parameter(v) if v.is_floating_point() else v for k, v in state.items()
        },
        "without-batch-counters": lambda state: {
            k: v for k, v in state.items() if not k.endswith("num_batches_tracked")
        },
    }


@pytest.mark.parametrize("wrap", wrappers())
def test_a_checkpoint_replaces_the_seeded_weights_however_it_is_wrapped(wrap, trained, state, tmp_path):
    torch.save(wrappers()[wrap](state), tmp_path / "trained.pt")
    model = build_model(NAME, checkpoint=tmp_path / "trained.pt")
    assert classifier_of(model).out_features == 7, "the class count comes from the checkpoint"
    read = model.state_dict()
    assert all(torch.equal(read[k], v) for k, v in state.items() if not k.endswith("num_batches_tracked"))


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_safetensors_are_read_whatever_they_are_called(suffix, state, tmp_path):
    save_file(state, tmp_path / f"trained.{suffix}")
    read = build_model(NAME, checkpoint=tmp_path / f"trained.{suffix}").state_dict()
    assert all(torch.equal(read[k], v) for k, v in state.items())


def test_the_older_file_format_of_torch_is_read(state, tmp_path):
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    read = build_model(NAME, checkpoint=tmp_path / "old.pt").state_dict()
    assert all(torch.equal(read[k], v) for k, v in state.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_widths_of_floats_are_rounded_to_the_models(dtype, state, tmp_path):
    other = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(other, tmp_path / "width.pt")
    read = build_model(NAME, checkpoint=tmp_path / "width.pt").state_dict()
    assert all(torch.equal(read[k], v.to(read[k].dtype)) for k, v in other.items())


def test_the_names_of_the_classes_are_read_where_the_file_has_them(state, tmp_path):
    names = tuple("gfedcba")
    for said in (
        {"classes": list(names)},
        {"class_names": names},
        {"class_to_idx": {name: k for k, name in reversed(tuple(enumerate(names)))}},
    ):
        torch.save({"state_dict": state, **said}, tmp_path / "named.pt")
        assert build_model(NAME, checkpoint=tmp_path / "named.pt").classes == names
    torch.save({"state_dict": state, "classes": 7}, tmp_path / "unnamed.pt")
    assert read_checkpoint(tmp_path / "unnamed.pt").classes == ()
    assert not hasattr(build_model(NAME, checkpoint=tmp_path / "unnamed.pt"), "classes")


@pytest.mark.parametrize("names", [list("abc"), list("aabcdef")])
def test_names_that_are_not_one_for_each_output_are_refused(names, state, tmp_path):
    said = refusal(tmp_path / "named.pt", {"state_dict": state, "classes": names})
    assert f"names {len(set(names))} different classes (a, " in said
    assert "classifier.3 has 7" in said


# --------------------------------------------------------------------------------------- values and their kind
def spoilt(value: float) -> Callable[[Tensor], Tensor]:
    def spoil(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[3] = value
        return tensor

    return spoil


VARIANCE, MEAN = "features.0.1.running_var", "features.0.1.running_mean"
FAULTS: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "nan": (WEIGHT, spoilt(float("nan")), "is NaN or infinite in 1 of 432 values; give a checkpoint from"),
    "infinity": (HEAD, spoilt(float("-inf")), "is NaN or infinite in 1 of 7168 values"),
    "nan-in-a-buffer": (MEAN, spoilt(float("nan")), "is NaN or infinite in 1 of 16 values"),
    "too-large-for-the-model": (WEIGHT, lambda t: t.double() + 1e300, "NaN or infinite in 432 of 432"),
    "half-that-overflowed": (VARIANCE, lambda t: (t + 1e6).half(), "is NaN or infinite in 16 of 16"),
    "negative-variance": (VARIANCE, lambda t: -t - 1, "holds a negative variance, which no training gives"),
    "integers": (WEIGHT, Tensor.long, "holds int64 numbers where float32 belongs; save the model as it was"),
    "bytes": (WEIGHT, lambda t: t.to(torch.int8), "holds int8 numbers where float32 belongs"),
    "booleans": (WEIGHT, Tensor.bool, "holds bool numbers where float32 belongs"),
    "complex": (WEIGHT, lambda t: t + 1j, "holds complex64 numbers where float32 belongs"),
    "float8": (WEIGHT, lambda t: t.to(torch.float8_e4m3fn), "holds float8_e4m3fn numbers where float32"),
    "float-counter": ("features.0.1.num_batches_tracked", Tensor.float, "holds float32 numbers where int64"),
    "meta": (
        WEIGHT,
        lambda t: t.to("meta"),
        "is a meta tensor, a shape without values; save the model after",
    ),
    "sparse": (HEAD, Tensor.to_sparse, "is sparse; save it as a dense tensor: tensor.to_dense()"),
    "no-values": (WEIGHT, lambda t: t[:0], "has the shape (0, 3, 3, 3) and so no values; save the whole"),
    "expanded": (
        WEIGHT,
        lambda t: t[:1].clone().expand_as(t),
        "repeats its values in memory; save tensor.clo",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_weights_that_no_training_gives_are_refused_by_name(fault, state, tmp_path):
    name, spoil, words = FAULTS[fault]
    said = refusal(tmp_path / "bad.pt", state | {name: spoil(state[name])})
    assert said.startswith(f"bad.pt: {name} ")
    assert words in said


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls these kinds of tensors deprecated or new
def test_quantised_and_nested_tensors_and_rows_of_sparse_ones_are_refused_by_name(state, tmp_path):
    for odd, words in (
        (
            torch.quantize_per_tensor(state[HEAD], 0.1, 0, torch.qint8),
            "is quantised (qint8); save the model be",
        ),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "is nested; save it as a dense tensor"),
        (state[HEAD].to_sparse_csr(), "is sparse; save it"),
    ):
        assert f"bad.pt: {HEAD} {words}" in refusal(tmp_path / "bad.pt", state | {HEAD: odd})


class Tagged(Tensor):
    pass


def test_a_subclass_of_tensor_is_refused_even_where_the_program_allows_to_load_it(state, tmp_path):
    torch.save(state | {WEIGHT: state[WEIGHT].as_subclass(Tagged)}, tmp_path / "bad.pt")
    with torch.serialization.safe_globals([Tagged]):
        said = refusal_of(tmp_path / "bad.pt")
    assert f"{WEIGHT} is a Tagged, not a plain tensor; save tensor.as_subclass(torch.Tensor)" in said


def test_tensors_that_lie_over_each_other_are_refused_and_parts_of_one_storage_are_not(state, tmp_path):
    weights = [name for name in state if state[name].is_floating_point()]
    flat = torch.cat([state[name].flatten() for name in weights])
    parts = flat.split([state[name].numel() for name in weights])
    apart = {name: part.view_as(state[name]) for name, part in zip(weights, parts, strict=True)}
    torch.save(state | apart, tmp_path / "flat.pt")
    read = build_model(NAME, checkpoint=tmp_path / "flat.pt").state_dict()
    assert all(torch.equal(read[k], v) for k, v in state.items())
    said = refusal(tmp_path / "bad.pt", state | {VARIANCE: state[MEAN]})
    assert f"{MEAN} and {VARIANCE} lie over each other in memory; save tensor.clone() of each" in said


def test_a_table_of_positions_that_differs_from_the_networks_own_is_refused(tmp_path):
    table = "features.1.0.attn.relative_position_index"
    state = dict(MODELS["swin_t"].build(3).state_dict())
    torch.save(state | {table: state[table].flip(0)}, tmp_path / "swin.pt")
    with pytest.raises(ValueError, match=f"swin.pt: {table} differs from the network's own table"):
        build_model("swin_t", checkpoint=tmp_path / "swin.pt")


# ------------------------------------------------------------------------------------------- which classifier
@pytest.mark.parametrize("extra", ["projection.weight", "aux.head.weight", "zz_last.weight"])
def test_another_matrix_is_never_taken_for_the_classifier(extra, state, tmp_path):
    torch.save(state | {extra: torch.ones(1000, 16)}, tmp_path / "two.pt")
    with pytest.raises(ValueError, match=rf"1 not in this network \(first: {extra}\)") as raised:
        build_model(NAME, checkpoint=tmp_path / "two.pt")
    assert "1000" not in str(raised.value)


@pytest.mark.parametrize("prefix", ["model_ema.", "ema.module.", "teacher."])
def test_two_networks_in_one_file_are_refused_and_both_are_named(prefix, state, tmp_path):
    copy = {f"{prefix}{k}": v.clone() for k, v in state.items()}
    for own in ("", "model."):
        said = refusal(tmp_path / "two.pt", {f"{own}{k}": v for k, v in state.items()} | copy)
        assert f"{own}{HEAD} and {prefix}{HEAD} could each be the classifier; save one network" in said


def test_two_sets_of_weights_in_one_file_are_refused_and_both_are_named(state, tmp_path):
    copy = {k: v.clone() for k, v in state.items()}
    said = refusal(tmp_path / "two.pt", {"epoch": 3, "state_dict": state, "state_dict_ema": copy})
    assert "holds several sets of weights (state_dict, state_dict_ema); give one" in said


def test_a_checkpoint_with_another_class_count_says_which_to_ask_for(state, tmp_path):
    torch.save(state, tmp_path / "seven.pt")
    with pytest.raises(ValueError, match=r"has 7 classes, 4 were asked for; give classes=7"):
        build_model(NAME, classes=4, checkpoint=tmp_path / "seven.pt")


def test_a_checkpoint_of_another_network_is_refused_with_the_differences(state, tmp_path):
    torch.save(state, tmp_path / "mobile.pt")
    with pytest.raises(ValueError, match=r"mobile.pt does not fit ResNet: \d+ missing .*conv1.weight"):
        build_model("resnet18", checkpoint=tmp_path / "mobile.pt")


def test_a_checkpoint_with_one_reshaped_tensor_is_refused(state, tmp_path):
    said = refusal(tmp_path / "cut.pt", state | {WEIGHT: state[WEIGHT][:8]})
    assert f"1 of another shape (first: {WEIGHT})" in said


def test_a_fault_in_a_safetensors_file_is_named_like_any_other(state, tmp_path):
    save_file(state | {HEAD: spoilt(float("nan"))(state[HEAD])}, tmp_path / "bad.safetensors")
    assert f"bad.safetensors: {HEAD} is NaN or infinite in 1 of" in refusal_of(tmp_path / "bad.safetensors")
