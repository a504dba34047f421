"""The site takes in the files outside docs/ that its pages link to: results, READMEs of operations.

A link such as ``../reports/results/x.md`` works where the repository is browsed. For the site the linked file is added
at ``reports/results/x.md``, and the link loses the ``../`` that left docs/. A link to a file that is not there stays as
it is, so that ``mkdocs build --strict`` fails on it.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<=\]\()(?P<up>(?:\.\./)+)(?P<path>(?:kernels|reports|xaimed_core)/[^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every file outside docs/ that a page links to, and what those link to beside them."""
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    while waiting:
        page = waiting.pop()
        for target in _linked(page):
            name = target.relative_to(ROOT).as_posix()
            if files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(target)))
                waiting += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Shorten the links by the step that left docs/; pages from outside docs/ keep theirs."""
    if page.file.generated_by is not None:
        return markdown
    return LINK.sub(lambda found: found["up"].removeprefix("../") + found["path"], markdown)


def _linked(page: Path) -> list[Path]:
    """Files of the repository, outside docs/, that a page links to."""
    text = page.read_text(encoding="utf-8")
    if page.is_relative_to(ROOT / "docs"):
        found = [page.parent / (match["up"] + match["path"]) for match in LINK.finditer(text)]
    else:
        found = [page.parent / link for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)]
    return [path for link in found if (path := link.resolve()).is_file() and path.is_relative_to(ROOT)]
