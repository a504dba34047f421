"""How often does the check of a history alarm in vain, and how soon does it find a step?

  python -m tests.reports.history.simulate --json reports/results/history-simulation.json

Histories are simulated: noise of 1 %, a drift of up to 3 %, and a run in a hundred disturbed by 5 to 40 %.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from xaimed_reports.history.judge import FEWEST, RECENT, beyond
from xaimed_reports.store.writing import write_whole

FACTOR, RUNS, AT = 0.03, 100, 60
STEPS = {0.10: RECENT, 0.05: 5}
"""A step's size, and within how many runs it is to be found."""


def simulated(rng, n=RUNS, *, step=0.0, at=None, noise=0.01):
    """The times of a history."""
    x = 1.2 * np.exp(rng.normal(scale=noise, size=n) + np.linspace(0, rng.uniform(-0.03, 0.03), n))
    disturbed = rng.random(n) < 0.01
    x[disturbed] *= 1 + rng.uniform(0.05, 0.4, disturbed.sum())
    if at is not None:
        x[at:] *= 1 + step
    return [float(value) for value in x]


def simulate(histories, seed=0):
    """Each history is checked after every run, as it would be; a step comes after 60 runs."""
    rng = np.random.default_rng(seed)
    alarms, found = 0, dict.fromkeys(STEPS, 0)
    for _ in range(histories):
        x = simulated(rng)
        alarms += any(beyond(x[:k], FACTOR) for k in range(FEWEST + RECENT, RUNS + 1))
        for step, within in STEPS.items():
            x = simulated(rng, step=step, at=AT)
            seen = (beyond(x[:k], FACTOR) for k in range(AT + 1, AT + within + 1))
            found[step] += any(each is not None and each[0] > 1 for each in seen)
    steps = [
        {"step": step, "within_runs": within, "found": found[step] / histories}
        for step, within in STEPS.items()
    ]
    return {
        "histories": histories,
        "runs": RUNS,
        "seed": seed,
        "alarmed_without_step": alarms / histories,
        "steps": steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    text = json.dumps(simulate(given.histories), indent=1)
    print(text)
    if given.json:
        write_whole(given.json, text)


if __name__ == "__main__":
    main()
