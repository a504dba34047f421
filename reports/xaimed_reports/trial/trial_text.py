"""A trial of the gate as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from xaimed_reports.format import seconds
from xaimed_reports.show.markdown import table
from xaimed_reports.store.devices import device_name
from xaimed_reports.trial.trial_records import SIDE, Count, Overhead, Power, Trial, Verdicts

FOUND_ENOUGH = 0.02
"""The harness's share that a call must be long enough for."""


def trial_markdown(found: Trial) -> str:
    """Everything a trial found: noise, false alarms, power, load, the harness's own cost."""
    machine = found.machine
    kinds = [run.name.partition("-")[0] for run in found.runs]
    made = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("alike", "slowed", "loaded"))
    longest = max(run.seconds for run in found.runs if run.name.startswith("alike"))
    head = (
        f"{device_name(machine)}; torch {machine.versions.get('torch', '?')}; revision {found.revision}; "
        f"gate runs: {made}; those alike took {longest:.0f} s of measuring at most; {found.disturbed} more were "
        "set aside because something disturbed most of their rows. "
        "Intervals are Clopper and Pearson's at 95 %."
    )
    alike = "Equal code: nothing must be slower or faster."
    loaded = "The other core kept busy by a spinning process: nothing must be slower or faster."
    parts = [head, _noise(found), alike, _verdicts(found.alike)]
    parts += [loaded, _verdicts(found.loaded)] if found.loaded else []
    parts += [_power(found)] if found.power else []
    parts += [overhead_markdown(found.overhead)] if found.overhead else []
    return "\n\n".join(part for part in parts if part)


def trial_in_short(found: Trial) -> str:
    """One paragraph: false alarms, what stayed unknown, slow-downs found; between two stored runs."""
    pairs = found.alike[0]
    if not trial_counted(found)[0]:
        return f"{device_name(found.machine)}: no row of two runs of equal code was judged."
    levels = [power for power in found.power if power.what == "two stored runs"]
    power = ", ".join(f"of {p.extra_work:.0%} in {p.found.hits} of {p.found.of}" for p in levels)
    beside = f"; {_beside_load(found.loaded)}" if found.loaded else ""
    left_out = pairs.not_judged.hits
    aside = f" ({left_out} more were not judged: something disturbed the machine)" if left_out else ""
    return (
        f"{device_name(found.machine)}: comparing two runs of equal code gave a false alarm in "
        f"{count_words(pairs.alarms)} and left {pairs.unknown.hits} of {pairs.unknown.of} rows unknown{aside}. "
        f"Real extra work was called slower: {power} trials{beside}."
    )


def trial_counted(found: Trial) -> tuple[int, str]:
    """How many rows of pairs of equal code were judged, and that in words: the last line of a trial."""
    rows = sum(pairs.not_judged.of for pairs in found.alike[:1])
    open_rows = sum(pairs.unknown.hits + pairs.not_judged.hits for pairs in found.alike[:1])
    moved = sum(pairs.slower_or_faster.hits for pairs in found.alike[:1])
    judged = rows - open_rows
    said = f"judged {judged} of {rows} rows of equal code"
    return judged, f"{said}: {moved} slower or faster, {judged - moved} same" if judged else said


def overhead_markdown(found: Sequence[Overhead]) -> str:
    """What the harness adds to calls of several lengths, and from which length on that is little."""
    rows = [(seconds(o.call_s), f"{o.share:.2%}", f"{o.low:.2%} to {o.high:.2%}") for o in found]
    text = table(("a call in a bare loop", "the harness adds", "95 % interval"), rows)
    little = [o.call_s for o in found if o.share < FOUND_ENOUGH]
    longer = [o.call_s for o in found if o.share >= FOUND_ENOUGH]
    shortest = min((s for s in little if s > max(longer, default=0.0)), default=None)
    said = (
        "at no length tried" if shortest is None else f"from calls of {seconds(shortest)} on (of those tried)"
    )
    return f"{text}\n\nThe harness adds less than {FOUND_ENOUGH:.0%} {said}."


def count_words(count: Count) -> str:
    """E.g. "1 of 10 (0.3 % to 44.5 %)"."""
    if count.low is None or count.high is None:
        return f"{count.hits} of {count.of}" if count.of else "-"
    return f"{count.hits} of {count.of} ({count.low:.1%} to {count.high:.1%})"


def _noise(found: Trial) -> str:
    rows = [
        (
            _name(key),
            *(
                f"{noise[name]:.1%}"
                for name in ("two runs", "sides", "visible to two runs", "visible to sides")
            ),
            f"{noise['follows the pace']:.2f}",
        )
        for key, noise in found.noise.items()
    ]
    head = (
        "row",
        "two runs of equal code differ by less than",
        f"sides of {SIDE} by less than (95 %)",
        "slow-downs visible to two runs from",
        f"to sides of {SIDE} from",
        "of a change of the forward's time, ours shows",
    )
    return table(head, rows)


def _verdicts(found: Sequence[Verdicts]) -> str:
    head = (
        "compared",
        "comparisons with an alarm",
        "rows slower or faster",
        "rows unknown",
        "rows not judged: machine disturbed",
        "exit codes",
    )
    return table(
        head,
        [
            (
                v.what,
                count_words(v.alarms) if v.slower_or_faster.of else "-",
                count_words(v.slower_or_faster),
                count_words(v.unknown),
                count_words(v.not_judged),
                ", ".join(f"{code}: {count}" for code, count in v.exit_codes.items()),
            )
            for v in found
        ],
    )


def _power(found: Trial) -> str:
    keys = sorted(found.noise)
    levels = sorted({power.extra_work for power in found.power})
    rows: list[tuple[str, ...]] = []
    for what in dict.fromkeys(power.what for power in found.power):
        by_level = {power.extra_work: power for power in found.power if power.what == what}
        rows += [
            (what, _name(key), *(count_words(_plain(_at(by_level, level).rows.get(key))) for level in levels))
            for key in keys
        ]
        rows.append((what, "all rows", *(count_words(_at(by_level, level).found) for level in levels)))
    really = {level: found.really_slower.get(f"{level:.2f}") for level in levels}
    named = [
        f"{level:.0%} (really {'unknown' if share is None else f'{share:.1%}'})"
        for level, share in really.items()
    ]
    said = (
        "Real extra work inside ours, one row at a time among rows alike: how often that row was called slower. "
        "Every slowed run counts once in each design; the runs alike beside it are used again and again."
    )
    return f"{said}\n\n{table(('compared', 'row', *named), rows)}"


def _beside_load(found: Sequence[Verdicts]) -> str:
    judged = sum(v.slower_or_faster.of for v in found)
    if not judged:
        return "beside a busy core no row was judged"
    wrong = sum(v.slower_or_faster.hits for v in found)
    return f"beside a busy core {wrong} of {judged} rows judged were called slower or faster"


def _name(key: str) -> str:
    """A row by its axes alone."""
    return key.partition("[")[2].removesuffix("]") or key


def _at(by_level: dict[float, Power], level: float) -> Power:
    """What was found at a level; nothing where too few runs had it for this design."""
    return by_level.get(level, Power(level, "", Count(0, 0), {}))


def _plain(count: Count | None) -> Count:
    """Without the interval: the whole line has one."""
    return Count(0, 0) if count is None else Count(count.hits, count.of)
