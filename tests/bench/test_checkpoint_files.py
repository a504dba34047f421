"""A file that is no PyTorch checkpoint is called by its name, a damaged one is noticed, and none runs code."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from xaimed_bench.checkpoints import read_checkpoint


def state() -> dict[str, object]:
    torch.manual_seed(0)
    return dict(nn.Linear(30, 20).state_dict())


def refusal_of(file: Path) -> str:
    """The words in which a file is refused, which begin with its name."""
    with pytest.raises(ValueError, match=rf"^{file.name} ") as raised:
        read_checkpoint(file)
    said = str(raised.value)
    assert said.count("\n") <= 2
    return said


class Dangerous:
    def __reduce__(self):
        return (Path.touch, (Path("a-checkpoint-ran-code"),))


def nested() -> object:
    return {"state_dict": state() | {"bias": Dangerous()}}


@pytest.mark.parametrize("content", [lambda: nn.Linear(2, 2), Dangerous, nested])
@pytest.mark.parametrize("write", ["zip", "legacy", "pickle", "safetensors-by-name"])
def test_a_file_that_could_run_code_is_refused_and_runs_none(content, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ("odd.safetensors" if write == "safetensors-by-name" else "odd.pt")
    if write == "pickle":
        file.write_bytes(pickle.dumps(content()))
    else:
        torch.save(content(), file, _use_new_zipfile_serialization=write != "legacy")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    said = refusal_of(file)
    assert "running code" in said or write == "safetensors-by-name"
    assert not (tmp_path / "a-checkpoint-ran-code").exists()


@pytest.mark.parametrize(
    "content", [[1, 2], {"epoch": 3}, {}, {"a": torch.ones(2), "n": 3}, {1: torch.ones(2)}]
)
def test_content_that_is_no_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "odd.pt")
    said = refusal_of(tmp_path / "odd.pt")
    assert "holds no state dict, a mapping of names to tensors (" in said
    assert "torch.save(model.state_dict" in said


def zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return packed.getvalue()


FOREIGN = {
    "is an empty file; a PyTorch state dict is wanted": b"",
    "is text (it begins 'lr 1e-3')": b"lr 1e-3\n",
    "is text (it begins '<!DOCTYPE html>": b"<!DOCTYPE html><html>Not found</html>",
    "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "is a Keras model or another HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "is a Keras model;": zipped("metadata.json", "config.json", "model.weights.h5"),
    "is an ONNX model": b"\x08\x08\x12\x07pytorch" + bytes(100),
    "is a TensorFlow Lite model": b"\x1c\0\0\0TFL3" + bytes(100),
    "is a TorchScript archive": zipped("net/data.pkl", "net/code/net.py", "net/constants.pkl"),
    "is a torch.export archive": zipped("net/archive_format", "net/models/model.json"),
    "is a NumPy archive": zipped("weight.npy"),
    "is a NumPy array": b"\x93NUMPY\x01\0" + bytes(100),
    "is a zip archive without weights": zipped("a.txt"),
    "is a gzip archive": b"\x1f\x8b\x08" + bytes(100),
    "damaged": b"\x07\x01\x02" + bytes(100),
    "is damaged or cut short": zipped("net/data.pkl")[:20],
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("words", FOREIGN)
def test_a_file_of_another_format_is_refused_by_its_name(words, suffix, tmp_path):
    file = tmp_path / f"odd.{suffix}"
    file.write_bytes(FOREIGN[words])
    assert words in refusal_of(file)


def test_a_folder_is_refused_and_the_files_in_it_that_may_be_meant_are_named(tmp_path):
    folder = tmp_path / "run1"
    folder.mkdir()
    assert "run1 is a folder; a PyTorch state dict is wanted" in refusal_of(folder)
    (folder / "model.safetensors").touch()
    assert "run1 is a folder that holds model.safetensors: give one of these;" in refusal_of(folder)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*gone.pt"):
        read_checkpoint(tmp_path / "gone.pt")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("part", [0.3, 0.99])
def test_a_file_cut_short_is_refused(part, legacy, tmp_path):
    file = tmp_path / "cut.pt"
    torch.save(state(), file, _use_new_zipfile_serialization=not legacy)
    os.truncate(file, int(part * file.stat().st_size))
    assert "damaged or cut short" in refusal_of(file)


def test_one_flipped_bit_in_the_weights_is_found(tmp_path):
    file = tmp_path / "flipped.pt"
    torch.save(state(), file)
    content = bytearray(file.read_bytes())
    content[content.index(state()["weight"].numpy().tobytes()) + 1] ^= 1
    file.write_bytes(content)
    assert "fails its check sum" in refusal_of(file)


def safetensors_of(header: dict[str, object], data: bytes) -> bytes:
    words = json.dumps(header).encode()
    return struct.pack("<Q", len(words)) + words + data


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


LIES = {
    "cut short": safetensors_of({"a": entry(0, 16, [4])}, bytes(8)),
    "cut within the header": safetensors_of({"a": entry(0, 16, [4])}, b"")[:30],
    "tensors over each other": safetensors_of({"a": entry(0, 16, [4]), "b": entry(8, 24, [4])}, bytes(24)),
    "a shape that needs more": safetensors_of({"a": entry(0, 16, [400])}, bytes(16)),
    "bytes that nobody owns": safetensors_of({"a": entry(0, 16, [4])}, bytes(64)),
    "an unknown kind": safetensors_of({"a": entry(0, 16, [4], "F99")}, bytes(16)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_damaged_safetensors_file_is_refused(lie, tmp_path):
    (tmp_path / "odd.safetensors").write_bytes(LIES[lie])
    said = refusal_of(tmp_path / "odd.safetensors")
    assert "is damaged or no safetensors file (" in said
    assert "save_file(model.state_dict(), path)" in said


def test_an_empty_safetensors_file_is_refused(tmp_path):
    (tmp_path / "none.safetensors").write_bytes(safetensors_of({}, b""))
    assert "holds no state dict, a mapping of names to tensors (it is empty)" in refusal_of(
        tmp_path / "none.safetensors"
    )
