"""What `impute` does to a process: calls from several threads at once, and compiling, which is announced."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROLOGUE = "import sys; sys.path[:] = " + repr(sys.path)

AT_ONCE = """
import threading
import numba, torch
from xaimed_kernels.impute import impute
from xaimed_kernels.impute.cases import image, mask

DTYPES = [getattr(torch, name) for name in sys.argv[2:]]
FAMILIES = ("cam, 20% kept", "frame", "scattered, 50% kept", "two neighbours")
torch.set_num_threads(2)  # each call uses two threads of its own

def run(k, call):
    height, width, dtype = 24 + k + call % 3, 31 - k, DTYPES[(k + call) % len(DTYPES)]
    pictures = torch.stack([image(height, width, seed=s) for s in range(2)]).to(dtype)
    keep = torch.stack([mask(FAMILIES[k], height, width, seed=s) for s in range(2)])
    return impute(pictures, keep)

def many(k):
    start.wait()
    found[k] = [run(k, call) for call in range(int(sys.argv[1]))]

found, start = {}, threading.Barrier(4)
threads = [threading.Thread(target=many, args=(k,)) for k in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
for k, results in sorted(found.items()):
    print(k, len(results), all(torch.equal(result, run(k, call)) for call, result in enumerate(results)))
try:
    print("a thread pool of Numba's runs:", numba.threading_layer())
except ValueError:
    print("no thread pool of Numba's")
"""
"""Four threads whose first calls coincide; the same calls one by one must give the same bits."""

NOTHING_CAN_BE_WRITTEN = """
import tempfile
def refuse(*_, **__): raise OSError("read-only file system")
tempfile.TemporaryFile = refuse
"""
"""This is how Numba finds out whether a folder can be written."""


def run(script: str, *arguments: str, **environment: str) -> tuple[str, str]:
    """Standard output and error of Python running ``script``, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + script, *arguments],
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def agreed(calls: int) -> str:
    return "".join(f"{k} {calls} True\n" for k in range(4)) + "no thread pool of Numba's\n"


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_threads_that_call_at_once_get_the_bits_of_calls_one_by_one(layer: str) -> None:
    """Numba's workqueue ends a process that enters it twice: no thread pool of Numba's is entered at all."""
    said, _ = run(AT_ONCE, "30", "float32", "float64", "float16", NUMBA_THREADING_LAYER=layer)
    assert said == agreed(30)


def test_compiling_is_announced_once_and_what_is_compiled_already_is_not(tmp_path: Path) -> None:
    said, warned = run(AT_ONCE, "1", "float32", NUMBA_CACHE_DIR=str(tmp_path))
    assert said == agreed(1)
    assert warned.count("\n") == 1
    assert warned.startswith(
        "xaimed: compiling the imputation of float32 images for this processor, once; about"
    )
    assert run(AT_ONCE, "1", "float32", NUMBA_CACHE_DIR=str(tmp_path)) == (said, "")


@pytest.mark.nightly
def test_where_machine_code_cannot_be_kept_each_process_says_how_it_could() -> None:
    waiting = "import numpy; from xaimed_kernels.impute.cpu import kernels; kernels(numpy.dtype('f4'))"
    _, warned = run(NOTHING_CAN_BE_WRITTEN + waiting)
    assert warned.count("\n") == 1
    assert "in each process (set NUMBA_CACHE_DIR to a folder that can be written)" in warned


def test_each_entry_is_compiled_once_for_each_precision() -> None:
    """A second version, for another layout or a literal, would be compiled without a word."""
    shapes = """
import itertools, torch
from xaimed_kernels.impute import impute
for n, c, h, w, dtype in itertools.product((1, 3), (1, 3), (1, 2, 24), (1, 9, 33), (torch.float32, torch.float64)):
    keep = torch.arange(n * 2 * h * w).reshape(n, 2, h, w) % 5 > 0
    images = torch.rand(n, h, w, c).to(dtype).movedim(-1, 1)
    for tol in (1e-4, torch.tensor(1e-5), 1e-9):
        impute(images, keep, tol=tol)
from xaimed_kernels.impute.compiled import coarse, cycle, hierarchy
entries = (hierarchy.relaxation, hierarchy.build, coarse.solve_coarse, cycle.fill)
print([len(entry.signatures) for entry in entries])
"""
    assert run(shapes)[0] in (
        "[2, 1, 0, 2]\n",
        "[2, 1, 1, 2]\n",
    )  # solve_coarse is loaded to compile fill alone


def test_an_entry_is_compiled_anew_where_a_file_inside_it_changed(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(
        "import inner\nfrom xaimed_kernels.impute.compiled import entry\n\n"
        "@entry(inner)\ndef give() -> int:\n    return inner.number()\n"
    )
    script = f"\nsys.path.insert(0, {str(tmp_path)!r})\nimport outer\nprint(outer.give())"
    for number in (1, 2):
        (tmp_path / "inner.py").write_text(
            "from xaimed_kernels.impute.compiled import compiled\n\n"
            f"@compiled\ndef number() -> int:\n    return {number}\n"
        )
        assert run(script, NUMBA_CACHE_DIR=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")[0] == f"{number}\n"
