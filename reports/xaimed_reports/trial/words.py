"""A trial of the gate in words: by the template ``trial.md``."""

from __future__ import annotations

from xaimed_reports.compare.statistics import clopper_pearson
from xaimed_reports.rendering import markdown_page
from xaimed_reports.store.devices import device_name
from xaimed_reports.trial.records import CALLED, SIDE, Tally, Trial


def trial_markdown(found: Trial) -> str:
    """Everything a trial found: noise, then every verdict on equal code, beside load and with extra work."""
    names = list(next(iter(found.noise.values()), {}))
    return markdown_page(
        "trial.md",
        found=found,
        device=device_name(found.machine),
        kinds=[run.name.partition("-")[0] for run in found.runs],
        longest_s=max(run.seconds for run in found.runs if run.name.startswith("alike")),
        side=SIDE,
        noise_head=("row", *names),
        noise=[
            (key.partition("[")[2].removesuffix("]") or key, *(f"{row[name]:.1%}" for name in names))
            for key, row in found.noise.items()
        ],
        verdicts_head=("compared", "code", *CALLED, "exit codes"),
        verdicts=[_cells(tally, found) for tally in (*found.alike, *found.loaded, *found.power)],
    )


def _cells(tally: Tally, found: Trial) -> tuple[str, ...]:
    really = found.really_slower.get(f"{tally.extra_work:.2f}")
    slowed = f"{tally.extra_work:.0%} slower" + (f" (really {really:.1%})" if really is not None else "")
    counts = {verdict: str(count) for verdict, count in tally.rows.items()}
    if tally.extra_work:
        counts["slower"] = _proportion(tally.rows["slower"], tally.of)
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(tally.exit_codes.items()))
    code = slowed if tally.extra_work else "equal"
    return tally.what, code, *(counts[verdict] for verdict in CALLED), codes or "-"


def trial_counted(found: Trial) -> tuple[int, str]:
    """How many rows of pairs of equal code were judged, and that in words: the last line of a trial."""
    pairs = found.alike[0]
    judged = pairs.rows["same"] + pairs.moved
    said = f"judged {judged} of {pairs.of} rows of equal code"
    return judged, f"{said}: {pairs.moved} slower or faster, {pairs.rows['same']} same" if judged else said


def _proportion(hits: int, of: int) -> str:
    """E.g. "1 of 10 (0.3% to 44.5%)", with the exact 95 % interval."""
    low, high = clopper_pearson(hits, of)
    return f"{hits} of {of} ({low:.1%} to {high:.1%})"
