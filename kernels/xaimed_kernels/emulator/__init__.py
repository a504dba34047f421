"""Compiled kernels executed on the CPU: PTX, thread by thread, with a shadow of memory; see README.md beside this."""

from xaimed_kernels.emulator.counts import Counts
from xaimed_kernels.emulator.driver import Device, Emulation, emulating
from xaimed_kernels.emulator.findings import Fault, Finding
from xaimed_kernels.emulator.machine import Kernel, Launch, Storage
from xaimed_kernels.emulator.program import UnknownInstructionError, parse

__all__ = [
    "Counts",
    "Device",
    "Emulation",
    "Fault",
    "Finding",
    "Kernel",
    "Launch",
    "Storage",
    "UnknownInstructionError",
    "emulating",
    "parse",
]
