"""Memory above resident: what a call really needs, and only that."""

import sys

import pytest
import torch

from xaimed_bench.measure.memory import LINUX_HOW, peak_above_resident

CPU = torch.device("cpu")
MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="resets VmHWM, which Linux alone has")


@linux
@pytest.mark.parametrize("mib", [32, 200])
def test_the_peak_of_a_call_is_found(mib):
    found = peak_above_resident(lambda: torch.ones(mib * MIB // 4).sum(), CPU)
    assert found.how == LINUX_HOW
    assert found.peak_bytes == pytest.approx(mib * MIB, rel=0.1, abs=4 * MIB)


@linux
def test_what_was_resident_before_does_not_count():
    held = torch.ones(150 * MIB // 4)
    found = peak_above_resident(lambda: held + 1, CPU)
    assert found.peak_bytes == pytest.approx(150 * MIB, rel=0.1)


@linux
def test_memory_freed_before_is_not_hidden_in_the_heap():
    blocks = [torch.ones(MIB // 8) for _ in range(400)]  # small enough to live in the heap
    del blocks
    found = peak_above_resident(lambda: [torch.ones(MIB // 8) for _ in range(400)], CPU)
    assert found.peak_bytes == pytest.approx(200 * MIB, rel=0.15)


@linux
def test_a_peak_that_is_gone_at_the_end_counts():
    def peak_in_the_middle():
        large = torch.ones(100 * MIB // 4)
        del large
        return torch.ones(10)

    assert peak_above_resident(peak_in_the_middle, CPU).peak_bytes == pytest.approx(100 * MIB, rel=0.1)


def test_where_the_system_cannot_tell_the_reason_is_given(monkeypatch, tmp_path):
    monkeypatch.setattr("xaimed_bench.measure.memory._CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    found = peak_above_resident(lambda: None, CPU)
    assert found.peak_bytes is None
    assert found.reason


@linux
def test_an_error_of_the_call_is_not_taken_for_a_system_that_cannot_tell():
    def fails():
        raise OSError(12, "Cannot allocate memory")

    with pytest.raises(OSError, match="Cannot allocate memory"):
        peak_above_resident(fails, CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_peak_on_a_gpu_is_allocated_and_reserved():
    found = peak_above_resident(lambda: torch.ones(50 * MIB // 4, device="cuda").sum(), torch.device("cuda"))
    assert found.peak_bytes == pytest.approx(50 * MIB, rel=0.02)
    assert found.reserved_bytes >= found.peak_bytes
