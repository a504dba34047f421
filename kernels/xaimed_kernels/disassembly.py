"""Machine code counted: instructions by class, and how wide the loads from global memory are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import final

CLASSES = (
    "global_load",
    "global_store",
    "shared_load",
    "shared_store",
    "local",
    "constant",
    "atomic",
    "mma",
    "fma",
    "float",
    "double",
    "integer",
    "conversion",
    "special",
    "shuffle",
    "barrier",
    "branch",
    "other",
)
"""``local``: a thread's own memory, where spilled registers go. ``constant``: parameters and constants. ``mma``:
matrix units. ``float``: single and half precision besides ``fma``. ``special``: reciprocal, root, exponential.
``shuffle``: between lanes. ``branch``: jumps, calls, exits, reconvergence. ``other``: moves, waits, nops."""


@final
@dataclass(frozen=True)
class Counts:
    """How often each class of `CLASSES` occurs, and each width in bits among the global loads; zeros left out."""

    classes: Mapping[str, int]
    load_bits: Mapping[int, int]


def count_sass(code: str) -> Counts:
    """Count what ``cuobjdump -sass`` prints for an NVIDIA GPU."""
    opcodes = re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", code, re.MULTILINE)
    return _counts(opcodes, _sass_class, _sass_bits)


def count_amdgcn(assembly: str) -> Counts:
    """Count the assembly that LLVM writes for an AMD GPU: every function in it."""
    opcodes = re.findall(r"^\t([a-z]+_\w+)", assembly, re.MULTILINE)
    return _counts(opcodes, _amd_class, _amd_bits)


def _counts(opcodes: Iterable[str], class_of: Callable[[str], str], bits_of: Callable[[str], int]) -> Counts:
    classes: Counter[str] = Counter()
    bits: Counter[int] = Counter()
    for opcode in opcodes:
        found = class_of(opcode)
        classes[found] += 1
        if found == "global_load":
            bits[bits_of(opcode)] += 1
    return Counts({name: classes[name] for name in CLASSES if name in classes}, dict(sorted(bits.items())))


_SASS = {
    "global_load": "LD LDG LDGSTS UBLKCP UTMALDG",
    "global_store": "ST STG UTMASTG",
    "shared_load": "LDS LDSM",
    "shared_store": "STS STSM",
    "local": "LDL STL",
    "constant": "LDC LDCU ULDC",
    "atomic": "ATOM ATOMG ATOMS RED REDG UTMAREDG",
    "fma": "FFMA FFMA2 HFMA2",
    "float": "FADD FADD2 FMUL FMUL2 FSEL FSET FSETP FMNMX FMNMX3 FCHK HADD2 HMUL2 HSET2 HSETP2 HMNMX2",
    "double": "DADD DMUL DFMA DSETP",
    "integer": "IADD IADD3 IMAD IMUL LEA LOP3 PLOP3 ISETP IABS IMNMX SHF SHL SHR PRMT SEL SGXT BMSK POPC FLO BREV "
    "VIADD VIADDMNMX VIMNMX VIMNMX3 VABSDIFF UIADD3 UIMAD ULEA ULOP3 UPLOP3 UISETP USHF UPRMT USEL USGXT UBMSK "
    "UPOPC UFLO",
    "conversion": "F2F F2FP F2I F2IP I2F I2FP I2I I2IP FRND",
    "special": "MUFU",
    "shuffle": "SHFL REDUX VOTE VOTEU MATCH",
    "barrier": "BAR MEMBAR FENCE SYNCS DEPBAR LDGDEPBAR ERRBAR",
    "branch": "BRA BRX BRXU JMP CALL RET EXIT BSSY BSYNC BREAK BMOV WARPSYNC YIELD",
}
_SASS_CLASS = {stem: name for name, stems in _SASS.items() for stem in stems.split()}


def _sass_class(opcode: str) -> str:
    stem = opcode.partition(".")[0]
    return "mma" if stem.endswith("MMA") else _SASS_CLASS.get(stem, "other")


def _sass_bits(opcode: str) -> int:
    """LDG.E.128, LDG.E.U8.SYS, LDG.E: a width of 32 is not written."""
    widths = (re.fullmatch(r"[US]?(8|16|64|128|256)", part) for part in opcode.split(".")[1:])
    return next((int(width[1]) for width in widths if width), 32)


_AMD = (
    ("atomic", r"\w+_atomic_|ds_(add|sub|min|max|and|or|xor|cmpst|wrxchg|inc|dec)_"),
    ("global_load", r"(global|flat|buffer)_load_"),
    ("global_store", r"(global|flat|buffer)_store_"),
    ("local", r"scratch_"),
    ("shuffle", r"ds_(b?permute|swizzle)|v_permlane|v_(read|write)lane|v_\w+_dpp"),
    ("shared_load", r"ds_(read|load)"),
    ("shared_store", r"ds_(write|store)"),
    ("constant", r"s_(buffer_)?load_"),
    ("mma", r"v_s?mfma"),
    ("special", r"v_(rcp|rsq|sqrt|exp|log|sin|cos)_"),
    ("barrier", r"s_barrier"),
    ("branch", r"s_(c?branch|endpgm|setpc|swappc|call)"),
    ("conversion", r"v_cvt_"),
    ("double", r"v_\w+_f64"),
    ("fma", r"v_(pk_)?(fma|mad)\w*_(f32|f16|bf16)"),
    ("float", r"v_\w+_(f32|f16|bf16)"),
    ("other", r"[sv]_(c?mov|nop|accvgpr)"),
    ("integer", r"[sv]_\w+_[iub](8|16|24|32|64)"),
)
"""Tried in this order; what fits none is ``other``."""
_AMD_BITS = {"dwordx4": 128, "dwordx3": 96, "dwordx2": 64, "dword": 32, "short": 16, "byte": 8}


def _amd_class(opcode: str) -> str:
    return next((name for name, pattern in _AMD if re.match(pattern, opcode)), "other")


def _amd_bits(opcode: str) -> int:
    """global_load_dwordx4, global_load_ubyte, buffer_load_short_d16."""
    return next(bits for word, bits in _AMD_BITS.items() if word in opcode)
