"""Where a run's results go: the JSON, the journal and the pictures beside it, written by this process alone."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from xaimed_reports.show.pictures import read_pictures
from xaimed_reports.store.journal import Journal
from xaimed_reports.store.jsonform import UnreadableError, parse, read_text, to_json
from xaimed_reports.store.load import pictures_path
from xaimed_reports.store.rows import Run
from xaimed_reports.store.writing import Held, aside

Pictures = Mapping[str, NDArray[np.uint8]]


@final
class Outputs:
    """The files of one run. ``stored``: the JSON; None for a journal alone.

    The JSON is written to `part` and takes its place in `finish`, so that it is whole or not there.
    """

    def __init__(self, stored: Path | None, journal: Path) -> None:
        self.json = stored
        self.journal_path = journal
        self.part = stored.with_name(f"{stored.name}.part") if stored is not None else None
        self._held = ExitStack()

    def hold(self) -> Journal:
        """Keep other runs from these files until `close`. Raises UnusableError or OSError."""
        if self.part is not None:
            self._held.enter_context(Held(self.part)).file.truncate(0)
            self._held.callback(self.part.unlink, missing_ok=True)  # whole, it has taken the JSON's place
        journal = Journal(self.journal_path)
        self._held.callback(journal.close)
        return journal

    def finish(self, run: Run) -> Path | None:
        """Let what was written to `part` be the JSON, and return its path; None where it is not whole.

        pytest-benchmark writes nothing where nothing was timed; then the rows alone are stored.
        """
        if self.part is None or self.json is None:
            return None
        if not self.part.exists() or not self.part.stat().st_size:
            self.part.write_text(json.dumps({"benchmarks": [], "xaimed": to_json(run)}), encoding="utf-8")
        try:
            parse(read_text(self.part))
        except UnreadableError:  # the disk was full
            self.part.unlink()
            return None
        self.part.replace(self.json)
        return self.json

    def close(self) -> None:
        self._held.close()

    def keep_pictures(self, pictures: Pictures) -> None:
        """Store all pictures so far beside the JSON."""
        if self.json is not None and pictures:
            stored: dict[str, Any] = dict(pictures)
            with aside(pictures_path(self.json)) as beside, beside.open("wb") as file:
                np.savez_compressed(file, **stored)

    def kept_pictures(self, cases: Collection[str]) -> Pictures:
        """What an unfinished run left of these cases' pictures; none, and a warning, where they cannot be read."""
        path = pictures_path(self.json) if self.json is not None else None
        if path is None or not path.exists():
            return {}
        try:
            return {n: found for n, found in read_pictures(path).items() if n.rpartition("/")[0] in cases}
        except UnreadableError as error:
            warnings.warn(f"pictures of cases measured before are lost: {error}", stacklevel=2)
            return {}
