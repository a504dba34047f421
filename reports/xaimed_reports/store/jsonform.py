"""Records to JSON and back, by msgspec: what does not fit is refused, place and reason named.

msgspec comes with the extra ``bench``. It is imported where a record is read or written, so that help and messages need
nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")


class UnusableError(ValueError):
    """What the user gave cannot be used. The message is one plain sentence: what is wrong, what to give instead."""


class UnreadableError(UnusableError):
    """The input is not what it claims to be. The message is one line that names the place."""


MOST_BYTES = 2**28
"""Of a file that is read: several times what the largest run takes."""


def read_text(path: Path) -> str:
    """A text file's content. Raises UnreadableError: the file's name, and why it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise UnreadableError(f"{path.name}: larger than {MOST_BYTES >> 20} MiB, which no result is")
        return raw.decode(
            json.detect_encoding(raw)
        )  # with a byte order mark, or in UTF-16, after a Windows shell
    except UnreadableError:
        raise
    except OSError as error:
        raise UnreadableError(f"{path.name or path}: {error.strerror or 'cannot be read'}") from error
    except ValueError as error:
        raise UnreadableError(f"{path.name}: not a text file") from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UnreadableError with one line that names the file."""
    text = read_text(path)
    try:
        return parse_object(text)
    except UnreadableError as error:
        raise UnreadableError(f"{path.name}: {error}") from error


def parse_object(text: str) -> dict[str, Any]:
    """The object that a JSON text holds. Raises UnreadableError."""
    data = parse(text)
    if not isinstance(data, dict):
        raise UnreadableError("its top level is not an object, as in every file that xaimed writes")
    return cast("dict[str, Any]", data)


def parse(text: str) -> Any:
    """What a JSON text holds: its numbers are finite and its texts of whole characters. Raises UnreadableError."""
    import msgspec

    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON, or cut short ({str(error)[:80]})") from error


def to_json(record: Any) -> Any:
    """A record as plain dicts, lists and scalars, numpy's numbers too. Raises ValueError for one that is not finite."""
    import msgspec

    return json.loads(_finite(msgspec.to_builtins(record, enc_hook=lambda number: number.item())))


def from_json(cls: type[T], data: Any, where: str = "") -> T:
    """The ``cls`` record that `to_json` wrote and `parse` read; unknown fields are ignored. Raises UnreadableError."""
    import msgspec

    try:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(data), type=cls)
    except OverflowError:
        said, at = "holds a number that is no whole number below 2^63", ""
    except UnicodeEncodeError:
        said, at = "holds a text that is no text of whole characters", ""
    except (ValueError, RecursionError) as error:
        said, _, at = str(error).partition(" - at `$")
    raise UnreadableError(f"{where or cls.__name__}{at.rstrip('`')}: {' '.join(said.split())[:200]}")


def _finite(data: Any) -> str:
    """The data as JSON text. Raises ValueError for what JSON cannot hold."""
    try:
        return json.dumps(data, allow_nan=False)
    except ValueError as error:
        raise ValueError("a result must hold finite numbers; store None and a reason instead") from error
