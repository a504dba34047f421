"""Files that are not xaimed's or not whole, made from one that is: every kind of damage, by a seed.

Each damage is one that a reader must notice: what it leaves is no run that anyone could have measured.
"""

import copy
import json
import random

from xaimed_reports.store.records import SCHEMA

NUMBERS = ["BIG", "TINY", "NaN", "Infinity", -1, -1e300, True, "3", None, [], {}]
"""BIG is 10**400 and TINY 1e-400 with a minus, as text that JSON's grammar allows."""


def damaged(whole: dict, seed: int) -> tuple[str, bytes]:
    """What was done, and the file's content."""
    chance = random.Random(seed)
    kinds = [cut, flipped, number, twice, future, emptied, foreign, half_character, gone]
    name = kinds[seed % len(kinds)]
    return name.__name__, name(copy.deepcopy(whole), chance)


def rows_of(data):
    return [b["extra_info"]["xaimed"] for b in data["benchmarks"]] + data["xaimed"]["rows"]


def text(data) -> bytes:
    said = json.dumps(data)
    return said.replace('"BIG"', "1" + "0" * 400).replace('"TINY"', "-1e400").encode()


def cut(data, chance):
    said = text(data)
    return said[: chance.randrange(len(said) - 1)]


def flipped(data, chance):
    """One bit of a sign that JSON's grammar needs."""
    said = bytearray(text(data))
    at = chance.choice([i for i, c in enumerate(said) if c in b'{}[]":,'])
    said[at] ^= 0x80
    return bytes(said)


def number(data, chance):
    """A count or a time that nothing has."""
    row = chance.choice([r for r in rows_of(data) if r["kind"] == "timed"])
    timing = chance.choice([row["timing"], row["forward"]])
    at, field = chance.choice(
        [
            (timing, "first_s"),
            (timing, "warm_up_s"),
            (timing["wall_s"], 0),
            (timing["block"], 0),
            (row["case"], "images"),
            (row["conditions"], "threads"),
            (row["conditions"], "involuntary_switches"),
            (data["xaimed"], "seconds"),
            (data["xaimed"]["machine"], "cores"),
            (row, "revision"),
        ]
    )
    at[field] = chance.choice([n for n in NUMBERS if not (n is None and field == "involuntary_switches")])
    return text(data)


def twice(data, chance):
    if chance.random() < 0.5:
        data["benchmarks"].append(chance.choice(data["benchmarks"]))
    else:
        data["xaimed"]["rows"].append(chance.choice(rows_of(data)))
    return text(data)


def future(data, chance):
    place = chance.choice([data["xaimed"], chance.choice(rows_of(data))])
    place["schema"] = chance.choice([SCHEMA + 1, 99, 0, -1, "3", None, 2.5, True])
    return text(data)


def emptied(data, chance):
    """A list without what it must hold."""
    row = chance.choice([r for r in rows_of(data) if r["kind"] == "timed"])
    row[chance.choice(["timing", "forward"])][chance.choice(["wall_s", "block", "after"])] = []
    return text(data)


def foreign(data, chance):
    return chance.choice(
        [
            b"",
            b"\0" * 99,
            b"null",
            b"[]",
            b"{}",
            b'{"benchmarks": []}',
            b"[" * 99_999,
            b"\xff\xfe\0",
            b"<html>",
        ]
    ) + chance.randbytes(chance.randrange(3))


def half_character(data, chance):
    chance.choice([data["xaimed"]["machine"], data["xaimed"]]).update(cpu="\ud800", profile="\udfff")
    return text(data)


def gone(data, chance):
    row = chance.choice(rows_of(data))
    del row[chance.choice(["case", "impl", "what", "kind"])]
    return text(data)
