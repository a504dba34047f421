"""A trial of the gate as Markdown."""

from __future__ import annotations

from xaimed_reports.compare.statistics import clopper_pearson
from xaimed_reports.show.markdown import table
from xaimed_reports.store.devices import device_name
from xaimed_reports.trial.records import CALLED, SIDE, Tally, Trial

NOISE = (
    f"How exact the machine is. Two runs of equal code, and sides of {SIDE} processes, differ by less than this in 95 "
    "of 100 comparisons. Slow-downs are visible to them from the next two figures on. The last is the share of a "
    "change of the forward's time that the row shows."
)
VERDICTS = (
    "How rows were called. Equal code must be neither slower nor faster. Of really slower code one row at a time was "
    "slowed among rows alike, and only that row is counted. Loaded: a spinning process kept the other core busy. Rows "
    "that something disturbed are not judged. Intervals are Clopper and Pearson's at 95 %."
)


def trial_markdown(found: Trial) -> str:
    """Everything a trial found: noise, then every verdict on equal code, beside load and with extra work."""
    kinds = [run.name.partition("-")[0] for run in found.runs]
    made = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("alike", "slowed", "loaded"))
    longest = max(run.seconds for run in found.runs if run.name.startswith("alike"))
    head = (
        f"{device_name(found.machine)}; torch {found.machine.versions.get('torch', '?')}; revision {found.revision}; "
        f"gate runs: {made}; those alike took {longest:.0f} s of measuring at most."
    )
    names = list(next(iter(found.noise.values()), {}))
    noise = [
        (key.partition("[")[2].removesuffix("]") or key, *(f"{row[name]:.1%}" for name in names))
        for key, row in found.noise.items()
    ]
    verdicts = [_cells(tally, found) for tally in (*found.alike, *found.loaded, *found.power)]
    tables = table(("row", *names), noise), table(("compared", "code", *CALLED, "exit codes"), verdicts)
    return "\n\n".join([head, NOISE, tables[0], VERDICTS, tables[1]])


def _cells(tally: Tally, found: Trial) -> tuple[str, ...]:
    really = found.really_slower.get(f"{tally.extra_work:.2f}")
    slowed = f"{tally.extra_work:.0%} slower" + (f" (really {really:.1%})" if really is not None else "")
    counts = {verdict: str(count) for verdict, count in tally.rows.items()}
    if tally.extra_work:
        counts["slower"] = _proportion(tally.rows["slower"], tally.of)
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(tally.exit_codes.items()))
    code = slowed if tally.extra_work else "equal"
    return tally.what, code, *(counts[verdict] for verdict in CALLED), codes or "-"


def trial_in_short(found: Trial) -> str:
    """One paragraph: false alarms, what stayed unknown, slow-downs found; between two stored runs."""
    pairs, device = found.alike[0], device_name(found.machine)
    if not trial_counted(found)[0]:
        return f"{device}: no row of two runs of equal code was judged."
    disturbed = pairs.rows["not judged"]
    aside = f" ({disturbed} more were not judged: something disturbed the machine)" if disturbed else ""
    power = [tally for tally in found.power if tally.what == pairs.what]
    levels = ", ".join(f"of {t.extra_work:.0%} in {t.rows['slower']} of {t.of}" for t in power)
    moved = sum(tally.moved for tally in found.loaded)
    loaded = sum(tally.of - tally.rows["not judged"] for tally in found.loaded)
    beside = (
        f"{moved} of {loaded} rows judged were called slower or faster" if loaded else "no row was judged"
    )
    return (
        f"{device}: comparing two runs of equal code gave a false alarm in "
        f"{_proportion(pairs.alarms, sum(pairs.exit_codes.values()))} and left {pairs.rows['unknown']} of "
        f"{pairs.of - disturbed} rows unknown{aside}. Real extra work was called slower: {levels} trials; "
        f"beside a busy core {beside}."
    )


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
