"""What a file that is given as a checkpoint is, seen from its first bytes, before anything in it is read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

_MAGIC = (
    (b"\x89HDF", "a Keras model or another HDF5 file"),
    (b"GGUF", "a GGUF file of quantised weights"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a Git LFS pointer that stands for the file; fetch the file with git lfs pull"),
)  # fmt: skip
_ONNX_FIELDS = b"\x12\x1a\x22\x3a\x42"
"""What follows the version in an ONNX file: the producer's name, its version, a domain, the graph, the operators."""
_IN_ZIPS = (
    ("constants.pkl", "a TorchScript archive"),
    ("model.weights.h5", "a Keras model"),
    ("archive_format", "a torch.export archive"),
    (".npy", "a NumPy archive"),
)
_WEIGHTS = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")


def foreign_format(file: Path) -> str | None:
    """What ``file`` is ("a folder", "an ONNX model") where it cannot hold a PyTorch state dict, else None.

    A zip archive is checked as a whole: a member that fails its check sum would give wrong weights without a word.
    """
    if file.is_dir():
        inside = sorted(p.name for p in file.iterdir() if p.suffix in _WEIGHTS)
        return "a folder" + (f" that holds {', '.join(inside[:3])}: give one of these" if inside else "")
    with file.open("rb") as opened:
        head = opened.read(256)
    if not head:
        return "an empty file"
    if head.startswith(b"PK"):
        return _foreign_zip(file)
    for magic, what in _MAGIC:
        if head.startswith(magic):
            return what
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if len(head) > 2 and head[0] == 8 and head[2] in _ONNX_FIELDS:
        return "an ONNX model"
    return _text(head)


def is_safetensors(file: Path) -> bool:
    """Whether ``file`` says so by its name, or begins as such a file does: the header's length, then JSON."""
    with file.open("rb") as opened:
        head = opened.read(9)
    return file.suffix == ".safetensors" or head[8:] == b"{"


def _foreign_zip(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            names, damaged = archive.namelist(), archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):  # the last: encrypted or unknown
        return "damaged or cut short"
    if damaged is not None:
        return f"damaged: {damaged} in it fails its check sum"
    return _what_holds(names)


def _what_holds(names: Sequence[str]) -> str | None:
    for ending, what in _IN_ZIPS:
        if any(name.endswith(ending) for name in names):
            return what
    return None if any(name.endswith("data.pkl") for name in names) else "a zip archive without weights"


def _text(head: bytes) -> str | None:
    if not head.isascii() or not all(chr(byte).isprintable() or chr(byte).isspace() for byte in head):
        return None
    return f"text (it begins {head.decode().strip()[:30]!r})"
