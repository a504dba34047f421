"""What a device is called: the one source of its name and of the folder its results lie in."""

from __future__ import annotations

import re

from xaimed_reports.store.records import Machine


def device_name(machine: Machine) -> str:
    """The GPU's name, or the CPU's with the threads that were used: "AMD EPYC, 2 threads"."""
    if machine.gpu is not None:
        return machine.gpu.name
    cpu = re.sub(r"\s*\((?:R|TM)\)|\s+CPU\b|\s+@.*|(\s+\d+-Core)?\s+Processor\b", "", machine.cpu)
    return f"{cpu}, {machine.threads} thread{'' if machine.threads == 1 else 's'}"


def device_folder(machine: Machine) -> str:
    """The name as a folder's: "amd-epyc-2-threads"."""
    return re.sub(r"[^a-z0-9]+", "-", device_name(machine).lower()).strip("-")
