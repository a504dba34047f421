"""What a plan does, in words."""

from __future__ import annotations

from collections import Counter

from xaimed_core.explanation import Route
from xaimed_core.tail.plan.plan import Plan

KINDS = {"convolution": "conv", "addmm": "linear", "mm": "linear"}


def describe(plan: Plan) -> Route:
    """Closed form, a delta through the first mixings and then rows, or rows alone."""
    if plan.closed:
        why = f"{_listed(plan.carried)} keep channels apart, {_listed(plan.linear)} are linear"
        return Route("closed-form", "closed-form", why)
    rows = [step for step in plan.rows if not step.changes]
    after = next((step.call.name for step in rows if step.mixing is None and not step.linear), None)
    if not plan.mixings:
        why = f"no rule carries the change of one channel through {rows[0].call.name}"
        return Route("replay", "replay", why)
    counted = Counter(KINDS[name] for name in plan.mixings)
    words = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counted.items())
    why = f"{after} comes between the first mixing and the output, and is not linear"
    return Route("delta", f"delta({words}) + replay", why)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(names)) or "no operations"
