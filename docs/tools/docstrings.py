"""Lists for the API page: docstrings name what they explain at the start of a line, ``layer: a module of ...``."""

import re
from typing import Any

import griffe

TERM = re.compile(r"(?P<names>`{0,2}[A-Za-z_][\w\[\], `]*?): (?=\S)|``(?P<quoted>\w+)``  (?=\S)")
"""Of a field or parameter: "name: ...", "``name``: ..." or "``name``  ...", several names by commas."""


class Terms(griffe.Extension):
    """Turns such lines into a Markdown list; their further lines are indented already."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite an object's docstring."""
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """The docstring with a list item for each term."""
    lines: list[str] = []
    in_list = False
    for line in text.split("\n"):
        term = TERM.match(line)
        if term and is_name(term):
            if not in_list and lines and lines[-1]:
                lines.append("")
            name = (term["names"] or term["quoted"]).replace("`", "")
            lines.append(f"- **{name}**: {line[term.end() :]}")
            in_list = True
            continue
        if in_list and line and not line.startswith("    "):
            in_list = False
            lines += [""] if lines[-1] else []
        lines.append(line)
    return "\n".join(lines)


def is_name(term: "re.Match[str]") -> bool:
    """Whether each of the names is one: a sentence such as "Raises where it fails: ..." is none."""
    if term["quoted"]:
        return True
    return all(
        re.fullmatch(r"[a-z]\w*( \[[^]]*\])?", n.strip()) for n in term["names"].replace("`", "").split(",")
    )
