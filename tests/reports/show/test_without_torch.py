"""Commands that only read start without torch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def in_a_fresh_process(code):
    paths = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "reports"), str(ROOT / "bench")]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", [[], *([name, "--help"] for name in ("compare", "report", "trial"))])
def test_help_starts_without_torch(words):
    said = in_a_fresh_process(
        f"import runpy; sys.argv = ['xaimed', *{words!r}]\n"
        "try:\n    runpy.run_module('xaimed_bench', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'triton', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert "usage" in said


@pytest.mark.parametrize("command", ["report", "compare"])
def test_stored_runs_are_shown_and_compared_without_torch(command, tmp_path):
    golden = str(ROOT / "tests/reports/golden/schema-1.json")
    rest = ["--html", str(tmp_path / "p.html")] if command == "report" else [golden]
    in_a_fresh_process(
        f"from xaimed_bench.cli import main\nassert main({[command, golden, *rest]!r}) in (0, 1)\n"
        "assert 'torch' not in sys.modules"
    )
