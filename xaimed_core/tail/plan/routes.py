"""What a plan does, in words."""

from __future__ import annotations

from collections import Counter

from xaimed_core.tail.plan.plan import Plan

KINDS = {"convolution": "conv", "addmm": "linear", "mm": "linear"}


def describe(plan: Plan) -> str:
    """ "closed-form", "delta(2 convs) + replay" or "replay", and why nothing cheaper."""
    if plan.closed:
        return f"closed-form: {_listed(plan.carried)} keep channels apart, {_listed(plan.linear)} are linear"
    rows = [step for step in plan.rows if not step.changes]
    after = next((step.call.name for step in rows if step.mixing is None and not step.linear), None)
    if not plan.mixings:
        return f"replay: no rule carries the change of one channel through {rows[0].call.name}"
    counted = Counter(KINDS[name] for name in plan.mixings)
    words = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in counted.items())
    return (
        f"delta({words}) + replay: {after} comes between the first mixing and the output, and is not linear"
    )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(names)) or "no operations"
