"""Figures of really compiled kernels agree with each other and show what a launch allows."""

import pytest

from xaimed_bench.profile.static import Job, compile_all, configurations

pytestmark = pytest.mark.offline

GENERAL = "weighted_map_kernel[fp32,fp32,fp32,BLOCK_C=32,BLOCK_S=16,WIDE=False,warps=1]"
ALIGNED = f"{GENERAL} aligned"


@pytest.fixture(scope="module")
def found():
    jobs = [Job(name, target) for name in (GENERAL, ALIGNED) for target in (90, "gfx942")]
    return compile_all(jobs, processes=1)


def test_figures_of_one_kernel_agree_with_each_other(found):
    assert set(found) == {GENERAL, ALIGNED}
    for rows in found.values():
        assert set(rows) == {"sm_90", "gfx942"}
        for figures in rows.values():
            widths = [count for name, count in figures.items() if name.startswith("global_load_")]
            assert sum(widths) == figures["global_load"] > 0
            assert figures["registers"] > 0
            assert figures["instructions"] > figures["float"] > 0


def test_a_launch_of_which_triton_knows_more_loads_more_widely(found):
    for target in ("sm_90", "gfx942"):
        assert "global_load_128" not in found[GENERAL][target]
        assert found[ALIGNED][target]["global_load_128"] == found[ALIGNED][target]["global_load"]


def test_an_aligned_launch_stands_beside_the_general_one():
    names = configurations()
    aligned = [name for name in names if name.endswith(" aligned")]
    assert aligned
    assert all(name.removesuffix(" aligned") in names for name in aligned)
