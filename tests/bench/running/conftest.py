"""A toy question that `pytest bench` measures in a folder of its own."""

import os
import shutil
from pathlib import Path

import pytest

from tests.bench.running.forking import Runs

ROOT = Path(__file__).parents[3]
TOY = """
import os, pytest, resource, signal, time, torch

@pytest.mark.parametrize("kind", ["good", "wrong", "flat", "broken", "last"])
def bench_doing_it(measure, kind):
    maps = torch.zeros(2, 8, 8) if kind == "flat" else torch.linspace(0, 1, 128).reshape(2, 8, 8)
    def ours():
        if kind == "last" and "DIE" in os.environ:
            os._exit(9)
        if kind == "last" and "ENDED" in os.environ:
            os.kill(os.getpid(), signal.SIGTERM)
        if kind == "last" and "FULL" in os.environ:  # as a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
        time.sleep(float(os.environ.get("SLEEP", 0)))
        if kind == "broken":
            raise ValueError("it broke")
        with open(os.environ["CALLS"], "a") as log:
            log.write(kind + " ")
        return maps + (0.1 if kind == "wrong" else 0)
    measure(ours, against=lambda: maps, what="the other 1.0", forward=maps.sum, images=2, allowed=1e-4,
            pictures=lambda a, b: {"map": a[0]})
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Runs the toy bench in a folder of its own; the measuring is the project's."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "bench").mkdir()
    shutil.copy(ROOT / "bench/conftest.py", folder / "bench")
    (folder / "bench/bench_toy.py").write_text(TOY)
    (folder / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\npython_files = ["bench_*.py"]\npython_functions = ["bench_*"]\n'
        'addopts = "--import-mode=importlib"\nfilterwarnings = ["error"]\n'
    )

    paths = os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    settings = {**alone, "PYTHONPATH": paths, "CALLS": str(folder / "calls"), "OMP_NUM_THREADS": "1"}
    runs = Runs(settings)

    def run(*words, **environment):
        common = ("bench", "-p", "no:cacheprovider", "--profile", "gate")
        return runs.run([*common, *words], folder, settings | environment)

    run.folder = folder
    yield run
    runs.close()
