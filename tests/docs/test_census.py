"""Decision 0009 counts the routes of the table in docs/which-models-work.md."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
KINDS = ("closed-form", "delta", "replay", "module rerun", "full-forward")


def test_the_census_counts_what_the_table_of_networks_shows() -> None:
    table = (DOCS / "which-models-work.md").read_text().split("<!-- begin families")[1].split("<!-- end")[0]
    routes = [line.split("|")[6].strip() for line in table.splitlines()[3:] if line.startswith("|")]
    page = (DOCS / "decisions/0009-the-routes-that-stay.md").read_text()
    counted = {kind: sum(route.startswith(kind) for route in routes) for kind in KINDS}
    stated = {kind.split("(")[0]: int(n) for kind, n in re.findall(r"^\| `([^`]+)` \| (\d+) \|", page, re.M)}

    assert stated == counted
    assert f"Of its {len(routes)} networks, AblationCAM runs in {sum(counted.values())}" in page
