"""A comparison as a table in the terminal, and its conclusions in words."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from rich.console import Console
from rich.text import Text

from xaimed_reports.compare.compare import DECIDED, Comparison, Judgement
from xaimed_reports.compare.verdicts import Verdict
from xaimed_reports.show.terminal import COLOURS, plain, print_grid

COLUMNS = ("case", "what", "new / base [95 %]", "shown only", "why", "verdict")


def show_comparison(found: Comparison, out: Console) -> None:
    """Print every finding, the conclusion, and in the last line how much it rests on."""
    title, name_of = _naming(found)
    rows = [
        [*cells(j, name_of[j.key])[:-1], Text(j.verdict, style=COLOURS[j.verdict])] for j in found.judgements
    ]
    print_grid(out, title, COLUMNS, rows, left=COLUMNS)
    out.print(plain(conclusion(found)))
    out.print(plain(counted(found)), soft_wrap=True)


def conclusion(found: Comparison) -> str:
    """One sentence: what was found, and what that means. It praises only what was judged."""
    noisy = f"{len(found.became_unknown)} rows became too noisy to judge: " if found.became_unknown else ""
    open_because = (
        "something disturbed the machine, run it again on a quiet one"
        if found.loaded
        else "no row was judged, and each says why"
        if not found.judged
        else f"{found.coverage:.0%} of the rows that the base has were judged, {found.required:.0%} are asked for"
    )
    failing = " or ".join(verdict for verdict in get_args(Verdict) if verdict in found.fail_on)
    meaning = {
        0: f"no row that was judged is {failing}",
        1: f"{noisy}this must not pass as it is",
        3: f"inconclusive: {open_because}",
    }[found.exit_code]
    return f"{meaning[0].upper()}{meaning[1:]} (units: {found.units})."


def counted(found: Comparison) -> str:
    """How many rows were judged, and as what; then what the others are. Always the last line of a comparison."""
    judged = Counter(j.verdict for j in found.judgements if j.verdict in {*DECIDED, *found.fail_on})
    rest = Counter(j.verdict for j in found.judgements if j.key not in found.judged)
    order: tuple[Verdict, ...] = (*DECIDED, *(v for v in get_args(Verdict) if v not in DECIDED))
    said = f"judged {len(found.judged)} of {len(found.rows)} rows"
    if judged:
        said += ": " + ", ".join(f"{judged[v]} {v}" for v in order if v in DECIDED or judged[v])
    return said + ("; not judged: " if rest else "") + ", ".join(f"{rest[v]} {v}" for v in order if rest[v])


def _naming(found: Comparison) -> tuple[str, dict[str, str]]:
    """The question as a title and each row by its axes alone, where all rows are of one question."""
    keys = [j.key for j in found.judgements]
    questions = {key.partition("[")[0] for key in keys}
    if len(questions) != 1:
        return "", {key: key for key in keys}
    return questions.pop(), {key: key.partition("[")[2].removesuffix("]") for key in keys}


def cells(judgement: Judgement, name: str) -> tuple[str, ...]:
    """One finding under `COLUMNS`; ``name``: of its row."""
    change = judgement.change
    ratio = "-" if change is None else f"{change.ratio:.3f} [{change.low:.3f}, {change.high:.3f}]"
    return (name, judgement.what, ratio, judgement.shown or "-", judgement.why, judgement.verdict)
