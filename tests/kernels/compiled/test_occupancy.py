"""How many programs a GPU holds, and that splits fill it, from numbers alone."""

import pytest

from xaimed_kernels.launching import ceil_div
from xaimed_kernels.occupancy import Multiprocessor, resident_programs, splits_to_fill

H100 = Multiprocessor()
T4 = Multiprocessor(registers=65536, shared_bytes=64 * 1024, threads=1024)


@pytest.mark.parametrize(
    ("on", "registers", "shared_bytes", "warps", "programs"),
    [
        pytest.param(H100, 168, 0, 1, 12, id="registers"),
        pytest.param(H100, 161, 0, 1, 12, id="registers come by eights"),
        pytest.param(H100, 128, 0, 16, 1, id="as many as there are"),
        pytest.param(H100, 32, 56 * 1024, 4, 4, id="shared memory, and what CUDA keeps of it"),
        pytest.param(H100, 32, 0, 8, 8, id="threads"),
        pytest.param(T4, 32, 0, 8, 4, id="fewer threads"),
        pytest.param(H100, 16, 0, 1, 16, id="programs"),
        pytest.param(H100, 0, 0, 1, 8, id="unknown registers count as all that a thread may have"),
        pytest.param(H100, 0, 0, 16, 1, id="unknown, and a large program"),
        pytest.param(H100, 255, 228 * 1024, 8, 1, id="never none"),
    ],
)
def test_the_scarcest_resource_limits_programs(on, registers, shared_bytes, warps, programs) -> None:
    found = resident_programs(on, registers=registers, shared_bytes=shared_bytes, warps=warps)
    assert found == programs


@pytest.mark.parametrize("outputs", [1, 3, 64, 100, 300, 2000])
@pytest.mark.parametrize("tiles", [1, 2, 16, 128, 255, 2048])
@pytest.mark.parametrize("slots", [1, 132, 396, 1056])
def test_splits_leave_no_part_empty_and_no_other_split_takes_less(outputs, tiles, slots) -> None:
    def waves(splits: int) -> int:
        return ceil_div(outputs * splits, slots) * (ceil_div(tiles, splits) + 1)

    splits = splits_to_fill(outputs, tiles, slots)
    assert (splits - 1) * ceil_div(tiles, splits) < tiles
    assert all(waves(splits) <= waves(other) for other in range(1, tiles + 1))


@pytest.mark.parametrize(
    ("outputs", "tiles", "slots", "filled"),
    [
        pytest.param(64, 128, 8 * 132, 0.96, id="2048x7x7"),
        pytest.param(64, 256, 8 * 132, 0.96, id="1024x14x14"),
        pytest.param(64, 512, 12 * 132, 0.96, id="512x28x28"),
        pytest.param(64, 256, 3 * 132, 0.96, id="256x56x56"),
    ],
)
def test_a_batch_of_64_fills_the_slots_of_an_h100_in_whole_waves(outputs, tiles, slots, filled) -> None:
    splits = splits_to_fill(outputs, tiles, slots)
    waves = ceil_div(outputs * splits, slots)
    assert tiles / (ceil_div(tiles, splits) * splits) * outputs * splits / (waves * slots) >= filled - 0.05
    assert outputs * splits / (waves * slots) >= filled
