"""Allocations that really fail: in a process of its own, under a limit on its address space."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads how much is used from /proc")

PREPARE = f"""
import sys
sys.path[:0] = {[str(ROOT / folder) for folder in ("", "kernels", "reports", "bench")]!r}
import resource, torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(0)

def limit(mib, what="AS", used="VmSize"):
    "Let this process take so many MiB beyond what it has now; None: as many as it likes."
    status = dict(line.split(":") for line in open("/proc/self/status") if "kB" in line)
    which = getattr(resource, "RLIMIT_" + what)
    hard = resource.getrlimit(which)[1]
    most = hard if mib is None else int(status[used].split()[0]) * 1024 + mib * 2**20
    resource.setrlimit(which, (most, hard))
    return most

def error_of(run):
    try:
        run()
    except Exception as error:
        return error

from xaimed_core.memory import is_out_of_memory
assert is_out_of_memory(error_of(lambda: torch.empty(2**60)))  # the first error loads what describes it: before a limit
"""


def in_a_process(code: str) -> list[str]:
    """The lines that ``code`` prints, after `PREPARE`."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize(("what", "used"), [("AS", "VmSize"), ("DATA", "VmData")])
def test_what_is_free_can_be_allocated_and_more_cannot(what: str, used: str) -> None:
    (found,) = in_a_process(f"""
from xaimed_core.memory import free_bytes, is_out_of_memory, limit_bytes
free_bytes(torch.device("cpu"))
most = limit(200, "{what}", "{used}")
free = free_bytes(torch.device("cpu"))
assert limit_bytes() <= most
assert 190 * 2**20 < free <= 200 * 2**20, free
torch.empty(int(0.95 * free), dtype=torch.uint8)
print(is_out_of_memory(error_of(lambda: torch.empty(int(1.05 * free), dtype=torch.uint8))))
""")
    assert found == "True"


FAILING = {
    "a tensor": "lambda: torch.ones(2**28)",
    "a sort": "lambda: large.sort()",
    "NumPy": "lambda: np.ones(2**27)",
    "Python's list": "lambda: [0.5 * i for i in range(2**26)]",
    "Python's bytes": "lambda: bytearray(2**30)",
    "a matrix product": "lambda: wide @ wide.T",
    "a decomposition": "lambda: torch.linalg.svd(wide[:3000])",
}


def test_whatever_fails_for_lack_of_memory_is_recognised() -> None:
    names = in_a_process(f"""
import numpy as np
from xaimed_core.memory import is_out_of_memory
large, wide = torch.rand(2**24), torch.rand(8192, 64)
limit(20)
for name, run in {{{", ".join(f"{name!r}: {run}" for name, run in FAILING.items())}}}.items():
    error = error_of(run)
    print(name if is_out_of_memory(error) else f"{{name}}: {{error!r}}")
""")
    assert names == list(FAILING)


def test_a_convolution_that_finds_no_memory_for_its_code_is_recognised() -> None:
    said = in_a_process("""
from xaimed_core.memory import is_out_of_memory
inputs = [torch.zeros(n, 64, 32, 32) for n in (2, 16, 64)]
convolution = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)
for warm in inputs[:2]:
    convolution(warm)
limit(0)
error = error_of(lambda: convolution(inputs[2]))
print(is_out_of_memory(error) or repr(error))
""")
    assert said == ["True"]


def test_chunks_are_halved_until_they_fit_and_nothing_is_lost() -> None:
    sizes, rows = in_a_process("""
from xaimed_core.chunks import in_chunks
asked = []

def run(part):
    asked.append(part.stop - part.start)
    return torch.ones(asked[-1], 2**22).cumsum(0)[:, 0] + part.start

limit(300)
found = torch.cat([rows for _, rows in in_chunks(40, 64, run)])
print(*asked)
print(torch.equal(found, torch.cat([rows for _, rows in in_chunks(40, asked[-2], run)])), len(found))
""")
    assert sizes.startswith("40 20 10 ")
    assert rows == "True 40"


@pytest.mark.parametrize("smallest", [1, 3, 5])
def test_the_fastest_chunk_fits_even_where_the_fewest_rows_do_not(smallest: int) -> None:
    (found,) = in_a_process(f"""
from xaimed_core.chunks import fastest_rows
limit(256 * {smallest} + 128)
print(fastest_rows(lambda part: torch.ones(part.stop, 2**26), 1000, torch.device("cpu")))
""")
    assert int(found) == {1: 1, 3: 2, 5: 4}[smallest]


TAILS = {
    "a plan": ("nn.Identity()", 110, "delta"),
    "rows of the model": ("Written()", 160, "module rerun"),
}


@pytest.mark.parametrize("tail", TAILS)
def test_ablations_are_the_same_with_and_without_a_limit_that_some_chunks_exceed(tail: str) -> None:
    first, mib, route = TAILS[tail]
    code = f"""
import copy
from xaimed_core import explain
from xaimed_core import chunks

class Written(nn.Module):
    def forward(self, x):  # no plan can be made of this
        return torch.sub(x, 0.1, out=torch.empty_like(x))

head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 4)]
tail = [{first}, nn.Conv2d(320, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 256, 1), nn.Tanh()]
limited = nn.Sequential(nn.Conv2d(3, 320, 3, padding=1), nn.ReLU(), *tail, *head).eval()
free, images = copy.deepcopy(limited), torch.randn(1, 3, 64, 64)
with torch.no_grad():
    limited(images)

ran_out, ask = [], chunks.is_out_of_memory
chunks.is_out_of_memory = lambda error: ran_out.append(type(error).__name__) or ask(error)  # an error holds tensors
limit({mib})
found = explain(limited, images, "ablationcam", "1", memory_bytes=2**40)
limit(None)
expected = explain(free, images, "ablationcam", "1", memory_bytes=2**40)
maps = expected.maps["ablationcam"]
assert float(maps.std()) > 0.01
torch.testing.assert_close(found.maps["ablationcam"], maps, rtol=0, atol=1e-4)
print(*set(ran_out), found.route["ablationcam"])
"""
    (found,) = in_a_process(code)
    assert found.startswith(f"RuntimeError {route}")


def test_the_harness_records_that_memory_ran_out() -> None:
    rows = in_a_process("""
from xaimed_bench.measure.case import Question, measure_case
from xaimed_reports.store.records import Case
small = torch.linspace(0, 1, 64).reshape(1, 8, 8)
large = lambda: torch.ones(2**28).new_zeros(1, 8, 8)
limit(100)
for ours in (large, small.clone):
    for reference in (large, small.clone):
        asked = Question(Case("toy", {}, 1), {"ours": ours, "reference": reference}, {}, allowed=1e-4)
        print(*(f"{row.impl} {row.status}" for row in measure_case(asked, None, torch.device("cpu"))))

def judge(found, expected):
    return large()

asked = Question(Case("toy", {}, 1), {"ours": small.clone, "reference": small.clone}, {}, allowed=1e-4, judge=judge)
print(*(f"{row.impl} {row.status}" for row in measure_case(asked, None, torch.device("cpu"))))
""")
    assert rows == [
        "ours oom reference oom",
        "ours oom reference skipped",
        "ours skipped reference oom",
        "ours ok reference ok",
        "ours oom reference skipped",
    ]
