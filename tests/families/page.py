"""The table of docs/which-models-work.md, from `TABLE` and what is measured: ``python -m tests.families.page``."""

from __future__ import annotations

import re
from pathlib import Path

from tests.families.measured import measure
from tests.families.table import EVERY, SHARED, TABLE, Row

PAGE = Path(__file__).parents[2] / "docs/which-models-work.md"
BLOCK = re.compile(r"(<!-- begin families: [^\n]* -->\n)(.*?)(<!-- end families -->)", re.DOTALL)
HEAD = """\
| family | model | layer | layout | methods | AblationCAM runs as | error | note |
| :-- | :-- | :-- | :-- | :-- | :-- | --: | :-- |
"""
IN_WORDS = {EVERY: "every", SHARED: "shared"}


def line_of(row: Row) -> str:
    """A row of the page, with its error as it is measured here."""
    found, errors = measure(row)
    layout = "" if row.layout is None else f'`"infer"`, `{row.layout}`'
    chosen = "; chosen" if row.layer == row.chosen else f"; chosen: `{row.chosen}`" if row.chosen else ""
    ablation = found.route["ablationcam"].steps if "ablationcam" in found.route else ""
    worst = max(error.found for error in errors.values())
    cells = (
        row.family,
        row.name,
        f"`{row.layer}`{chosen}",
        layout,
        IN_WORDS.get(row.methods, ", ".join(row.methods)),
        ablation,
        f"{worst:.0e}",
        row.note,
    )
    return f"| {' | '.join(cells)} |"


def without_error(line: str) -> tuple[str, float]:
    """A line less its error, and the error."""
    cells = line.strip("|").split(" | ")
    return " | ".join((*cells[:6], *cells[7:])), float(cells[6])


def shown() -> list[str]:
    """The lines of the page."""
    block = BLOCK.search(PAGE.read_text())
    assert block is not None
    return block[2].splitlines()[2:]


def write() -> None:
    table = HEAD + "".join(f"{line_of(row)}\n" for row in TABLE)
    PAGE.write_text(BLOCK.sub(lambda found: found[1] + table + found[3], PAGE.read_text()))


if __name__ == "__main__":
    write()
