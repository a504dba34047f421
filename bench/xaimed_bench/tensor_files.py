"""Files of tensors that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from xaimed_bench.checkpoint_files import is_safetensors
from xaimed_reports.store.writing import write_whole

FORMAT = "1"
"""Of the headers of xaimed's own files."""


def write_tensors(tensors: Mapping[str, Tensor], header: Mapping[str, str], path: Path) -> None:
    """Write a file of safetensors as `write_whole` does; `read_header` gives ``header`` back."""
    from safetensors.torch import save

    apart = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_whole(path, save(apart, {"xaimed": FORMAT, **header}))


def read_header(path: Path) -> dict[str, str]:
    """What `write_tensors` got as its header; empty for other files, damaged ones among them.

    Raises ValueError for a file of a later version of xaimed.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file() or not is_safetensors(path):
        return {}
    try:
        with safe_open(path, "pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except SafetensorError:
        return {}
    if header.get("xaimed", FORMAT) != FORMAT:
        raise ValueError(f"{path.name} was written by another version of xaimed; upgrade, or train again")
    return header if "xaimed" in header else {}
