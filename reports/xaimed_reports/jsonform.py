"""Records to JSON and back, checked field by field: what does not fit is refused, place and reason named."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")


class UnreadableError(ValueError):
    """The input is not what it claims to be. The message is one line that names the place."""


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
        return {str(k): _read(args[1], v, f"{where}.{k}") for k, v in entries.items()}
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
        if isinstance(data, int | float) and math.isfinite(data):
            return float(data)
        return _refuse(where, "a finite number", data)
    return data if isinstance(data, kind) else _refuse(where, kind.__name__, data)


def _need(kind: type[T], data: Any, where: str, words: str) -> T:
    return data if isinstance(data, kind) else _refuse(where, words, data)


def _refuse(where: str, wanted: str, got: Any) -> Any:
    raise UnreadableError(f"{where} must be {wanted}, got {repr(got)[:60]}")
