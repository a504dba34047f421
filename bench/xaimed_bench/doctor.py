"""What a bug report needs to know about this machine, on one screen and without a host name, user or home path."""

from __future__ import annotations

import getpass
import os
import platform
import re
import tempfile
import textwrap
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, final

import torch

from xaimed_bench.measure import nvml
from xaimed_bench.measure.machine import machine_facts
from xaimed_core.memory import free_bytes, is_out_of_memory, limit_bytes, machine_bytes

LIBRARIES: Final = ("torch", "torchvision", "triton", "numpy", "numba", "scipy", "nvidia-ml-py")
PEERS: Final = ("grad-cam", "torchcam", "captum")
SWITCHES: Final = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_TF32_OVERRIDE",
    "TRITON_INTERPRET",
)
"""Environment variables that change how kernels run or how long they take."""

GIB: Final = 2**30
WIDTH: Final = 100


@final
@dataclass(frozen=True)
class Fact:
    """One line of the report: what was looked at, what was found, and what is wrong with it, if anything."""

    name: str
    found: str
    problem: str | None = None


@final
@dataclass(frozen=True)
class Diagnosis:
    """The facts in the order in which they are shown; `str` shows them."""

    facts: tuple[Fact, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps xaimed from working here as it could, one sentence each."""
        return tuple(fact.problem for fact in self.facts if fact.problem)

    def __getitem__(self, name: str) -> str:
        return next(fact.found for fact in self.facts if fact.name == name)

    def __str__(self) -> str:
        column = max(len(fact.name) for fact in self.facts)
        lines = [_wrap(f"{fact.name:<{column}}  ", fact.found) for fact in self.facts]
        said = [f"! {problem}" for problem in self.problems] or ["nothing found that is in the way"]
        return "\n".join([*lines, "", *said])


def doctor() -> Diagnosis:
    """Look at this machine. Reads versions, devices, limits and rights; runs one tiny kernel where there is a GPU.

    Nothing is changed: whether a cache can be written is tried with a file that is removed at once. What cannot be
    found out is part of the report, never an exception.
    """
    device = torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
    machine = machine_facts(device)
    return Diagnosis(
        (
            Fact("xaimed", f"{_version('xaimed')}, Python {platform.python_version()}, {machine.system}"),
            Fact("libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)),
            Fact("peers", ", ".join(f"{name} {_version(name)}" for name in PEERS)),
            Fact("CPU", f"{machine.cpu}, {machine.cores} cores usable, bf16 instructions: {_cpu_bf16()}"),
            Fact(
                "threads",
                f"{torch.get_num_threads()} in an operation, {torch.get_num_interop_threads()} beside",
            ),
            _memory(),
            _device(),
            _bf16(),
            _triton(),
            _nvml(),
            *(_cache(name, path) for name, path in _caches().items()),
            Fact(
                "switches",
                ", ".join(f"{s}={os.environ[s]}" for s in SWITCHES if s in os.environ) or "none set",
            ),
            Fact("precision", ", ".join(f"{name} {value}" for name, value in machine.flags.items())),
        )
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        if package == "xaimed":
            from xaimed_core import __version__

            return f"{__version__} (not installed: a checkout)"
        return "missing"


# ------------------------------------------------------------------------------------------------ CPU and memory
def _cpu_bf16() -> str:
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return "unknown (no /proc/cpuinfo)"
    return ", ".join(sorted(flags & {"avx512_bf16", "amx_bf16", "bf16"})) or "none"


def _memory() -> Fact:
    size, limit = machine_bytes(), limit_bytes()
    found = "size unknown" if size is None else f"{size / GIB:.1f} GiB"
    found += ", no limit" if limit is None else f", limited to {limit / GIB:.1f} GiB (container or ulimit)"
    low = min(size or 4 * GIB, limit or 4 * GIB) < 4 * GIB
    problem = "less than 4 GiB of memory: AblationCAM and ROAD will run in small chunks" if low else None
    return Fact("memory", f"{found}, {free_bytes(torch.device('cpu')) / GIB:.1f} GiB free", problem)


# ---------------------------------------------------------------------------------------------------------- GPU
def _device() -> Fact:
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        why = (
            f"torch is built for CUDA {built} and sees no device" if built else "torch is built without CUDA"
        )
        return Fact("device", f"none: {why}")
    shown: list[str] = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        try:
            free = f"{free_bytes(torch.device('cuda', index)) / GIB:.1f}"
        except RuntimeError as failure:  # so full that the driver finds no place for this process
            free = "none" if is_out_of_memory(failure) else "an unknown part"
        memory = f"{free} of {facts.total_memory / GIB:.1f} GiB free"
        shown.append(f"{facts.name} (compute capability {facts.major}.{facts.minor}, {memory})")
    return Fact("device", f"{'; '.join(shown)}; CUDA {torch.version.cuda}")


def _bf16() -> Fact:
    if not torch.cuda.is_available():
        return Fact("bf16", "on the CPU only, where it is slow without bf16 instructions")
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return Fact("bf16", "native on the device" if native else "emulated on the device: use fp16 or fp32")


def _triton() -> Fact:
    """Whether a Triton kernel of xaimed gives the right numbers here: the one proof that the device is supported."""
    if _version("triton") == "missing":
        problem = (
            "Triton is missing and CUDA tensors need it: pip install 'triton>=3.6'"
            if torch.cuda.is_available()
            else None
        )
        return Fact("Triton kernels", "not installed (Triton exists for Linux only); CPU paths run", problem)
    if not torch.cuda.is_available():
        return Fact("Triton kernels", "not tried: no device; CPU paths run")
    from xaimed_kernels.weighted_map import weighted_map

    try:
        activations = torch.linspace(-1, 1, 3 * 7, device="cuda").view(1, 3, 7)
        weights = torch.tensor([[0.5, -2.0, 1.0]], device="cuda")
        given = weighted_map(activations, weights, backend="triton")
        expected = weighted_map(activations.double(), weights, backend="reference")
        error = float((given - expected).abs().max())
    except Exception as failure:  # whatever the compiler or the driver throws is the finding
        if is_out_of_memory(failure):
            problem = "the device's memory is full: end what else runs on it, and ask again"
            return Fact("Triton kernels", "not tried: no memory left on the device", problem)
        first = next(iter(str(failure).splitlines()), "")
        problem = f"Triton kernels do not run on this device ({type(failure).__name__}: {_private(first)})"
        return Fact("Triton kernels", "do not run here", problem)
    problem = None if error < 1e-5 else f"a Triton kernel is wrong by {error:.1e} on this device"
    return Fact("Triton kernels", f"run here, largest error {error:.1e}", problem)


def _nvml() -> Fact:
    if not torch.cuda.is_available():
        return Fact("NVML", "not tried: no device")
    facts = machine_facts(torch.device("cuda")).gpu
    state = nvml.state(torch.device("cuda"))
    refused = {**(facts.reasons if facts else {}), **state.reasons}
    driver = f"driver {facts.driver}" if facts and facts.driver else "driver unknown"
    if not refused:
        return Fact("NVML", f"{driver}; clocks, power, temperature and throttling can be read")
    return Fact(
        "NVML", f"{driver}; " + "; ".join(f"{name}: null ({_private(why)})" for name, why in refused.items())
    )


# ------------------------------------------------------------------------------------------------------- caches
def _caches() -> dict[str, tuple[Path, ...]]:
    """Where compiled kernels are kept: the places that each library tries, in its order."""
    import xaimed_kernels

    home = Path(os.environ.get("TRITON_HOME", Path.home()))
    user = re.sub(r'[\\/:*?"<>|]', "_", _user())
    inductor = os.environ.get("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/torchinductor_{user}")
    numba = os.environ.get("NUMBA_CACHE_DIR")
    beside_source, of_user = Path(str(xaimed_kernels.__path__[0])), Path.home() / ".cache" / "numba"
    return {
        "Triton cache": (Path(os.environ.get("TRITON_CACHE_DIR", home / ".triton" / "cache")),),
        "Numba cache": (Path(numba),) if numba else (beside_source, of_user),
        "inductor cache": (Path(inductor),),
    }


def _cache(name: str, places: tuple[Path, ...]) -> Fact:
    reasons: list[str] = []
    for place in places:
        existing = next(folder for folder in (place, *place.parents) if folder.exists())
        try:
            with tempfile.TemporaryFile(dir=existing):
                return Fact(name, f"{_private(str(place))}, writable")
        except OSError as error:
            reasons.append(f"{_private(str(place))}, {error.strerror}")
    problem = f"the {name} cannot be written: its kernels are compiled anew in every process"
    return Fact(name, "; ".join(reasons), problem)


# ------------------------------------------------------------------------------------------------------ privacy
def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as containers have
        return ""


def _private(text: str) -> str:
    """The text without the home folder, the user's and the host's name."""
    home = str(Path.home())
    if home != os.sep:  # a user without a home folder
        text = text.replace(home, "~")
    for name, instead in ((_user(), "USER"), (platform.node(), "HOST")):
        if name:
            text = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", instead, text)
    return text


def _wrap(label: str, text: str) -> str:
    indent = " " * len(label)
    return textwrap.fill(text, WIDTH, initial_indent=label, subsequent_indent=indent, break_on_hyphens=False)
