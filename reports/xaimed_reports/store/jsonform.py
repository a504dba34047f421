"""Records to JSON and back, checked field by field: what does not fit is refused, place and reason named."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")

INT_LIMIT = 2**63
"""No count of anything needs more; far beyond, arithmetic with floats overflows."""


class UnusableError(ValueError):
    """What the user gave cannot be used. The message is one plain sentence: what is wrong, what to give instead."""


class UnreadableError(UnusableError):
    """The input is not what it claims to be. The message is one line that names the place."""


def read_text(path: Path) -> str:
    """A text file's content. Raises UnreadableError: the file's name, and why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
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
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON, or cut short ({str(error)[:80]})") from error
    if not isinstance(data, dict):
        raise UnreadableError("its top level is not an object, as in every file that xaimed writes")
    return cast("dict[str, Any]", data)


def to_json(record: Any) -> Any:
    """A record as plain dicts, lists and scalars. Numbers must be finite."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: to_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, dict):
        return {str(k): to_json(v) for k, v in cast("dict[Any, Any]", record).items()}
    if isinstance(record, list | tuple):
        return [to_json(v) for v in cast("list[Any]", record)]
    if isinstance(record, float) and not math.isfinite(record):
        raise ValueError("a result must hold finite numbers; store None and a reason instead")
    return record


def from_json(cls: type[T], data: Any, where: str = "") -> T:
    """The ``cls`` record that `to_json` wrote; unknown fields are ignored. Raises UnreadableError."""
    return cast(T, _read(cls, data, where or cls.__name__))


def _read(kind: Any, data: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _read_record(cast(type, kind), data, where)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _read_union(args, data, where)
    if origin is Literal:
        return data if data in args else _refuse(where, f"one of {', '.join(map(repr, args))}", data)
    if origin is tuple:
        items = _need(list, data, where, "a list")
        return tuple(_read(args[0], v, f"{where}[{i}]") for i, v in enumerate(items))
    if origin is dict:
        entries = _need(dict, data, where, "an object")
        return {_encodable(k, where): _read(args[1], v, f"{where}.{k}") for k, v in entries.items()}
    return _read_scalar(kind, data, where)


def _read_record(cls: type, data: Any, where: str) -> Any:
    entries = _need(dict, data, where, "an object")
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.name in entries:
            values[f.name] = _read(hints[f.name], entries[f.name], f"{where}.{f.name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UnreadableError(f"{where}.{f.name} is missing")
    try:
        return cls(**values)
    except ValueError as error:
        raise UnreadableError(f"{where}: {error}") from error


def _read_union(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in kinds:
        return None
    inner = [k for k in kinds if k is not type(None)]
    for kind in inner[:-1]:
        try:
            return _read(kind, data, where)
        except UnreadableError:
            continue
    return _read(inner[-1], data, where)


def _read_scalar(kind: Any, data: Any, where: str) -> Any:
    if kind is bool or isinstance(data, bool):
        return data if kind is bool and isinstance(data, bool) else _refuse(where, kind.__name__, data)
    if kind is float:
        if isinstance(data, int | float) and abs(data) <= sys.float_info.max:
            return float(data)
        return _refuse(where, "a finite number", data)
    if isinstance(data, int) and abs(data) >= INT_LIMIT:
        return _refuse(where, "a whole number below 2^63", data)
    if kind is str and isinstance(data, str):
        return _encodable(data, where)
    return data if isinstance(data, kind) else _refuse(where, kind.__name__, data)


def _encodable(text: str, where: str) -> str:
    """The text, where it can be written to a file: JSON may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _refuse(where, "text of whole characters", text)
    return text


def _need(kind: type[T], data: Any, where: str, words: str) -> T:
    return data if isinstance(data, kind) else _refuse(where, words, data)


def _refuse(where: str, wanted: str, got: Any) -> Any:
    raise UnreadableError(f"{where} must be {wanted}, got {repr(got)[:60]}")
