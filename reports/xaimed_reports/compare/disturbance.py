"""What makes the times of one row doubtful: others on the machine, a throttled GPU, a forward pass that says so."""

from __future__ import annotations

from xaimed_reports.compare.pace import Pace, forward_of, unsteadiness
from xaimed_reports.compare.sides import loaded, throttled
from xaimed_reports.format import seconds
from xaimed_reports.store.rows import Row

UNSTEADY = 0.02
"""Where neighbouring blocks' forward passes differ by more, runs scatter twice as much (decision 0008)."""


def disturbance(row: Row, pace: Pace | None = None) -> str | None:
    """Why the times of one row are doubtful, or None. ``pace``: the machine's, where its floor was measured.

    Only the machine and the plain forward pass are looked at, never the explanation: a change of it is no disturbance.
    """
    if loaded((row,)):
        return "other processes used the machine meanwhile"
    if held_by := throttled(row):
        return f"the GPU was throttled ({held_by})"
    if (differ := unsteadiness(row)) > UNSTEADY:
        return f"the machine was unsteady: forward passes a moment apart differed by {differ:.1%}"
    forward_s = forward_of(row)
    if pace is None or pace.slowest_s is None or forward_s is None or forward_s <= pace.slowest_s:
        return None
    return (
        f"the machine was slower than when its floor was measured: a plain forward pass took {seconds(forward_s)}, "
        f"usually {seconds(pace.forward_s)}"
    )
