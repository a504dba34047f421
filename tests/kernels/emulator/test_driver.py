"""The emulator stands in for Triton's driver only as long as it is asked to."""

import pytest
import torch

from xaimed_kernels.emulator import Device, emulating
from xaimed_kernels.launching import multiprocessors
from xaimed_kernels.weighted_map import weighted_map

pytestmark = pytest.mark.ptx


def maps(n: int = 1, channels: int = 64) -> torch.Tensor:
    return weighted_map(torch.ones(n, channels, 4, 4), torch.ones(n, channels), backend="triton")


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_all_is_as_before(fails):
    from triton import knobs
    from triton.runtime import driver

    def state() -> tuple:
        hook = knobs.runtime.add_stages_inspection_hook
        return driver._active, hook, knobs.cache.dir, multiprocessors(torch.device("cpu"))

    before = state()
    try:
        with emulating(Device(multiprocessors=7)) as emulation:
            assert multiprocessors(torch.device("cpu")) == 7
            assert maps()[0, 0, 0] == 64
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert state() == before
    assert len(emulation.launches) == 1
    assert emulation.launches[0].counts is None


def test_what_was_compiled_is_kept_apart_from_what_a_gpu_gets(tmp_path, monkeypatch):
    from triton import knobs

    monkeypatch.setattr(knobs.cache, "dir", str(tmp_path))
    with emulating(Device(capability=89)):  # no other test compiles for it: Triton holds nothing yet
        maps()
    assert list(tmp_path.rglob("*.cubin"))
    assert [child.name for child in tmp_path.iterdir()] == ["emulated"]


def test_launches_are_listed_and_variants_told_apart():
    with emulating(Device(multiprocessors=2), counted=True) as emulation:
        maps()
        maps()
        maps(channels=65)
    first, second, third = emulation.launches
    assert first.counts == second.counts
    assert {launch.kernel for launch in emulation.launches} == {"weighted_map_kernel"}
    assert (first.warps, first.findings) == (1, ())
    assert 1 <= len(emulation.variants) <= 2
    assert third.counts is not None


def test_a_storage_askew_is_refused():
    room = torch.zeros(64 * 16 + 1)
    askew = torch.frombuffer(memoryview(room.numpy())[1:], dtype=torch.float32)  # 4 bytes further
    with emulating(), pytest.raises(ValueError, match="multiple of 16; clone it"):
        weighted_map(askew.reshape(1, 64, 4, 4), torch.ones(1, 64), backend="triton")


def test_a_grid_of_two_dimensions_is_refused():
    import triton
    import triton.language as tl

    @triton.jit
    def nothing_kernel(p):
        tl.store(p, 1.0)

    with emulating(), pytest.raises(ValueError, match="one-dimensional grids"):
        nothing_kernel[(2, 2)](torch.zeros(16))
