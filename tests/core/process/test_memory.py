"""What is free within every limit, and what an error says when memory ran out."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from xaimed_core import memory
from xaimed_core.memory import (
    NO_LIMIT,
    UNKNOWN_BYTES,
    free_bytes,
    group_limits,
    is_out_of_memory,
    limit_bytes,
    machine_free_bytes,
    memory_bound,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
KIB = 1024

SAID = {
    "torch on Linux": "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4194304 bytes. Error code 12 (Cannot allocate memory)",
    "torch on Windows": "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried "
    "to allocate 911360 bytes.",
    "a mapped file": "unable to mmap 1024 bytes from file </model.pt>: Cannot allocate memory (12)",
    "CUDA outside the allocator": "CUDA error: out of memory",
    "Triton": "Triton Error [CUDA]: out of memory",
    "MPS": "MPS backend out of memory (MPS allocated: 1.00 GB, other allocations: 1.00 GB, max allowed: 2.00 GB)",
    "cuBLAS": "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN": "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "C++ on Linux": "std::bad_alloc",
    "C++ on Windows": "bad allocation",
    "oneDNN, code": "could not create a primitive",
    "oneDNN, workspace": "could not execute a primitive",
    "oneDNN, values": "could not create a memory object",
}


@pytest.mark.parametrize("who", SAID)
def test_every_allocator_is_understood(who: str) -> None:
    assert is_out_of_memory(RuntimeError(SAID[who]))


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("full"), OSError(errno.ENOMEM, "fork failed")]
)
def test_an_error_of_its_own_class_needs_no_words(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("could not create a primitive descriptor for the matmul primitive"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("unsupported operation: more than one element of the written-to tensor refers to a single "
                     "memory location"),
        ValueError("memory_bytes=1 is not enough memory"),
        OSError(errno.ENOSPC, "No space left on device"),
        KeyboardInterrupt(),
    ],
)  # fmt: skip
def test_other_errors_are_not_taken_for_lack_of_memory(error: BaseException) -> None:
    assert not is_out_of_memory(error)


def test_an_error_raised_from_lack_of_memory_is_lack_of_memory_and_one_raised_beside_it_is_not() -> None:
    wrapped, beside = ValueError("the file holds no weights"), ValueError("no layer of that name")
    wrapped.__cause__ = RuntimeError(SAID["torch on Linux"])
    beside.__context__ = MemoryError()
    assert is_out_of_memory(wrapped)
    assert not is_out_of_memory(beside)


# ------------------------------------------------------------------------------------------------ control groups
GROUPS: dict[str, tuple[str, dict[str, str], list[tuple[int, int]]]] = {
    "version 2: the outer group counts, pages that can be dropped do not": (
        "0::/a/b\n",
        {
            "a/memory.max": "1000\n",
            "a/memory.current": "700\n",
            "a/memory.stat": "anon 1\ninactive_file 150\n",
            "a/b/memory.max": "max\n",
            "a/b/memory.current": "600\n",
        },
        [(1000, 550)],
    ),
    "version 2: every limited group counts": (
        "0::/pod/container\n",
        {
            "memory.max": "900\n",
            "memory.current": "850\n",
            "pod/memory.max": "800\n",
            "pod/memory.current": "300\n",
            "pod/container/memory.max": "1000\n",
            "pod/container/memory.current": "100\n",
        },
        [(1000, 100), (800, 300), (900, 850)],
    ),
    "version 2: a limit that slows down counts like one that ends": (
        "0::/a\n",
        {"a/memory.max": "max\n", "a/memory.high": "500\n", "a/memory.current": "20\n"},
        [(500, 20)],
    ),
    "version 2: a container sees its own group at the root": (
        "0::/\n",
        {"memory.max": "700\n", "memory.current": "5\n"},
        [(700, 5)],
    ),
    "version 1: its container is mounted elsewhere": (
        "5:cpu:/x\n4:memory:/not/mounted/here\n",
        {
            "memory/memory.limit_in_bytes": "900\n",
            "memory/memory.usage_in_bytes": "500\n",
            "memory/memory.stat": "total_inactive_file 0\n",
        },
        [(900, 500)],
    ),
    "version 1: nested, and a huge number means none": (
        "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n",
        {
            "memory/docker/abc/memory.limit_in_bytes": "2000\n",
            "memory/docker/abc/memory.usage_in_bytes": "50\n",
            "memory/memory.limit_in_bytes": f"{NO_LIMIT * 8 - 4096}\n",
            "memory/memory.usage_in_bytes": "5000\n",
        },
        [(2000, 50)],
    ),
    "a group that does not say what it uses still has a limit": (
        "0::/\n", {"memory.max": "700\n"}, [(700, 0)]
    ),
    "no limit": ("0::/\n", {"memory.max": "max\n", "memory.current": "5\n"}, []),
    "a file that means nothing": ("nonsense\n", {"memory.max": "700\n"}, []),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_the_limits_of_control_groups_are_found(name: str, tmp_path: Path) -> None:
    membership, files, expected = GROUPS[name]
    (tmp_path / "cgroup").write_text(membership)
    for file, text in files.items():
        (tmp_path / "sys" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / file).write_text(text)
    assert list(group_limits(tmp_path / "cgroup", tmp_path / "sys")) == expected


def test_a_system_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert list(group_limits(tmp_path / "cgroup", tmp_path / "sys")) == []


# ------------------------------------------------------------------------------------------------- the machine
@pytest.mark.parametrize(
    ("meminfo", "overcommit", "free"),
    [
        ("MemTotal: 9 kB\nMemFree: 2 kB\nMemAvailable: 7 kB\n", "0\n", 7 * KIB),
        ("MemTotal: 9 kB\nMemFree: 2 kB\n", "1\n", 2 * KIB),
        ("MemAvailable: 7 kB\nCommitLimit: 9 kB\nCommitted_AS: 4 kB\n", "2\n", 5 * KIB),
        ("MemAvailable: 7 kB\nCommitLimit: 9 kB\nCommitted_AS: 4 kB\n", "0\n", 7 * KIB),
        ("MemAvailable: 7 kB\nCommitLimit: 3 kB\nCommitted_AS: 4 kB\n", "2\n", 0),
    ],
)
def test_the_kernel_says_what_the_machine_can_give(
    meminfo: str, overcommit: str, free: int, tmp_path: Path
) -> None:
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "meminfo").write_text(meminfo)
    (tmp_path / "sys/vm/overcommit_memory").write_text(overcommit)
    assert machine_free_bytes(tmp_path) == free


def test_a_system_without_proc_gives_half_of_its_memory_or_what_any_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: 8000)
    assert machine_free_bytes(tmp_path) == 4000
    monkeypatch.setattr(memory, "machine_bytes", lambda: None)
    assert machine_free_bytes(tmp_path) == UNKNOWN_BYTES


def test_the_smallest_limit_counts_whoever_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_free_bytes", lambda: 1000)
    monkeypatch.setattr(memory, "own_limits", lambda: iter([(5000, 4400)]))
    monkeypatch.setattr(memory, "group_limits", lambda: iter([(3000, 2300)]))
    assert free_bytes(CPU) == 600
    assert limit_bytes() == 3000
    monkeypatch.setattr(memory, "group_limits", lambda: iter([(3000, 3300)]))
    assert free_bytes(CPU) == 0
    monkeypatch.setattr(memory, "own_limits", lambda: iter([]))
    monkeypatch.setattr(memory, "group_limits", lambda: iter([]))
    assert free_bytes(CPU) == 1000
    assert limit_bytes() is None


@pytest.mark.parametrize(("share", "free"), [(1.0, 900), (0.5, 300), (0.1, 0)])
def test_a_device_gives_its_free_memory_and_idle_blocks_within_the_share_of_the_process(
    share: float, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SimpleNamespace(
        mem_get_info=lambda _: (800, 2000),
        memory_reserved=lambda _: 800,
        memory_allocated=lambda _: 700,
        get_per_process_memory_fraction=lambda _: share,
    )
    monkeypatch.setattr(memory.torch, "cuda", device)
    assert free_bytes(CUDA) == free


def test_half_of_what_is_free_is_taken_unless_a_bound_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _: 4 * 10**8)
    assert memory_bound(CPU, None) == 2 * 10**8
    assert memory_bound(CPU, None, enough_bytes=10**9) == 2 * 10**8
    assert memory_bound(CPU, 123) == 123
    with pytest.raises(ValueError, match="positive number of bytes, got 0; None asks the device"):
        memory_bound(CPU, 0)


def test_what_is_little_is_taken_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda _: pytest.fail("asked"))
    assert memory_bound(CPU, None, enough_bytes=10**6) == 10**6
