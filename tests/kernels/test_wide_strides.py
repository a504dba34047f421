"""Offsets beyond 2^31: views whose strides pass it, over a file that is almost all hole."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.kernels.agreement import assert_agrees
from xaimed_kernels.gradient_maps import gradient_maps
from xaimed_kernels.gradient_maps.cases import FORMULAS
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.weighted_map import weighted_map

SHAPE = (2, 3, 3, 3)
BACKENDS = [
    "cpu",
    pytest.param("triton", marks=pytest.mark.interpret, id="interpreter"),
    # unchecked: the shadow of 4 GiB would be no hole
    pytest.param("triton", marks=pytest.mark.ptx(checked=False), id="ptx"),
]
STRIDES = [
    pytest.param((2**31 + 5, 9, 3, 1), id="image-stride"),
    pytest.param((27, 2**30 + 7, 3, 1), id="channel-stride"),
    pytest.param((27, 9, 2**30 + 9, 1), id="row-stride"),
]


def far_apart(folder: Path, strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Values in a view with these strides, and the same values side by side."""
    last = sum((side - 1) * stride for side, stride in zip(SHAPE, strides, strict=True))
    assert last >= 2**31
    file = folder / "sparse"
    storage = torch.from_file(str(file), shared=True, size=last + 1, dtype=torch.float16)
    view = storage.as_strided(SHAPE, strides)
    near = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).half()
    view.copy_(near)
    assert file.stat().st_size > 2**32 > 2**20 > file.stat().st_blocks * 512
    return view, near


@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_kernels_read_views_whose_strides_pass_2_to_the_31(backend, strides, tmp_path) -> None:
    view, near = far_apart(tmp_path, strides)
    formulas = list(FORMULAS.values())
    found = gradient_maps(view, near, formulas, backend=backend)
    assert_agrees(found.maps, gradient_maps(near.double(), near.double(), formulas, backend="reference").maps)
    found = gradient_maps(near, view, formulas, backend=backend)
    assert_agrees(found.maps, gradient_maps(near.double(), near.double(), formulas, backend="reference").maps)
    found = weighted_map(view, view, backend=backend)
    assert_agrees(found, weighted_map(near.double(), near.double(), backend="reference"))
    found = principal_map(view, backend=backend)
    assert_agrees(found, principal_map(near.double(), backend="reference"))


@pytest.mark.gpu
def test_the_gpu_reads_views_whose_strides_pass_2_to_the_31() -> None:
    if torch.cuda.mem_get_info()[0] < 6 * 2**30:
        pytest.skip("needs 6 GiB of free GPU memory")
    storage = torch.zeros(2**31 + 64, dtype=torch.float16, device="cuda")
    view = storage.as_strided(SHAPE, (2**31 + 5, 9, 3, 1))
    near = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).half()
    view.copy_(near)
    found = weighted_map(view, view)
    assert_agrees(found, weighted_map(near.double(), near.double(), backend="reference"))
