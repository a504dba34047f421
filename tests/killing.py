"""Kill -9 at random moments: what the scripts called ``kill_at_random`` share."""

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path


def forked(act: Callable[[], object]) -> int:
    """A child that acts and ends."""
    child = os.fork()
    if child == 0:
        try:
            act()
        finally:
            os._exit(0)
    return child


class Killer:
    """Kills one child after the other, each within the time that one took which was left alone."""

    def __init__(self, seed: int, undisturbed: Callable[[], object]) -> None:
        self.chance, self.tally = random.Random(seed), Counter[str]()
        began_s = time.monotonic()
        os.waitpid(forked(undisturbed), 0)
        self.longest_s = time.monotonic() - began_s

    def kill(self, act: Callable[[], object]) -> None:
        child = forked(act)
        time.sleep(self.chance.uniform(0, self.longest_s))
        os.kill(child, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            self.tally["kills"] += 1


def main(description: str | None, kill: Callable[[int, int, Path], Counter[str]]) -> None:
    """Print as JSON what ``kill(kills, seed, folder)`` counted."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(kill(given.kills, given.seed, Path(folder))))
