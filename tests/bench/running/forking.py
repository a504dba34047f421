"""A process that has imported what takes seconds, and forks for each run of pytest that a test asks for.

Each run is a process of its own, with its own folder, environment, output and exit code, that begins after the imports.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HEAVY = ("torch", "torchvision", "numba", "scipy.stats", "pytorch_grad_cam", "matplotlib.figure", "pytest")
"""Nothing of xaimed: pytest must see its plugins before they are imported."""


class Runs:
    """``run(...)`` is `subprocess.run` of ``python -m pytest``; `close` ends the process that forks."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.server = subprocess.Popen(
            [sys.executable, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, words: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        assert self.server.stdin
        assert self.server.stdout
        with tempfile.TemporaryDirectory() as kept, ThreadPoolExecutor() as readers:
            outputs = [
                Path(kept, name) for name in ("out", "err")
            ]  # pipes: no limit of a file's size holds for them
            for path in outputs:
                os.mkfifo(path)
            asked = [list(words), str(folder), dict(environment), *map(str, outputs)]
            print(json.dumps(asked), file=self.server.stdin, flush=True)
            said = readers.map(Path.read_text, outputs)
            return subprocess.CompletedProcess(list(words), int(self.server.stdout.readline()), *said)

    def close(self) -> None:
        self.server.communicate()


def _serve() -> None:
    for name in HEAVY:
        importlib.import_module(name)
    for line in sys.stdin:
        asked = json.loads(line)
        if not (child := os.fork()):
            _run(*asked)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(words: list[str], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    import pytest

    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = folder
    sys.exit(pytest.main(words))


if __name__ == "__main__":
    _serve()
