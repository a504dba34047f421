"""What is recorded about the machine, and what the harness itself costs."""

import sys
import time
from statistics import median
from types import SimpleNamespace

import pytest
import torch

from xaimed_bench.measure import machine_facts, nvml
from xaimed_bench.measure.clock import Clock
from xaimed_bench.measure.machine import Snapshot, Watch
from xaimed_reports.store.jsonform import from_json, to_json
from xaimed_reports.store.records import Machine

CPU = torch.device("cpu")


def test_machine_facts_are_a_record_that_can_be_stored():
    found = machine_facts(CPU)
    assert found.versions["torch"] == torch.__version__.partition("+")[0] or found.versions["torch"]
    assert found.threads == torch.get_num_threads()
    assert from_json(Machine, to_json(found)) == found


def test_the_memory_of_a_machine_is_what_its_smallest_limit_leaves(monkeypatch):
    found = {"machine_bytes": 8000, "limit_bytes": 3000}
    for name in found:
        monkeypatch.setattr(f"xaimed_bench.measure.machine.{name}", lambda name=name: found[name])
    assert machine_facts(CPU).memory_bytes == 3000
    found["limit_bytes"] = None
    assert machine_facts(CPU).memory_bytes == 8000
    found["machine_bytes"] = None
    assert machine_facts(CPU).memory_bytes is None


def test_the_work_of_other_processes_is_told_from_ones_own(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    snapshots = iter(
        [
            Snapshot(at_s=100.0, busy_s=50.0, steal_s=1.0, own_s=20.0, switches=7),
            Snapshot(at_s=110.0, busy_s=70.0, steal_s=3.0, own_s=28.0, switches=9),
        ]
    )
    monkeypatch.setattr(Snapshot, "now", lambda: next(snapshots))
    found = Watch(CPU).conditions()
    assert found.others_share == pytest.approx((20 - 8 + 2) / 10 / 4)
    assert found.involuntary_switches == 2
    assert found.steal_s == 2.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_snapshot_counts_the_work_of_this_process():
    before = Snapshot.now()
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass
    after = Snapshot.now()
    assert after.own_s - before.own_s > 0.05
    assert after.busy_s - before.busy_s > 0.05


class FakeNvml:
    """An NVML that forbids some questions, as in containers."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __getattr__(self, name):
        if name.startswith("nvmlClocksThrottleReason"):
            return {"nvmlClocksThrottleReasonSwPowerCap": 4}.get(name, 0)
        raise AttributeError(name)

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        assert uuid == b"GPU-1234"
        return "handle"

    def nvmlSystemGetDriverVersion(self):
        return "570.1"

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):
        raise RuntimeError("Insufficient Permissions")

    def nvmlDeviceGetEccMode(self, handle):
        return (1, 1)

    def nvmlDeviceGetMigMode(self, handle):
        return (0, 0)

    def nvmlDeviceGetMaxClockInfo(self, handle, kind):
        return {1: 1980, 2: 3201}[kind]

    def nvmlDeviceGetClockInfo(self, handle, kind):
        return {1: 1500, 2: 3200}[kind]

    def nvmlDeviceGetTemperature(self, handle, sensor):
        return 61

    def nvmlDeviceGetPowerUsage(self, handle):
        raise RuntimeError("Insufficient Permissions")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle):
        return 4


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))


def test_what_nvml_forbids_is_null_with_the_reason(gpu):
    found = nvml.describe("a GPU", "1234", "9.0", 2**37)
    assert (found.driver, found.ecc, found.mig, found.power_limit_w) == ("570.1", True, False, None)
    assert found.reasons == {"power_limit_w": "Insufficient Permissions"}
    assert found.clocks_max_mhz == {"sm": 1980.0, "memory": 3201.0}
    assert "1234" not in repr(found)


def test_throttling_is_read_by_name_and_makes_the_verdict_unknown(gpu):
    state = nvml.state(torch.device("cuda", 0))
    assert (state.throttled_by, state.sm_mhz, state.temperature_c) == ("power cap", 1500.0, 61.0)
    table = nvml.changes(state, state)
    assert table["throttled_by after"] == "power cap"
    assert table["power_w before is missing because"] == "Insufficient Permissions"


def test_without_nvml_the_reason_is_recorded(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = nvml.describe("a GPU", "1234", "9.0", 2**37)
    assert found.driver is None
    assert "nvml" in found.reasons


def test_the_harness_adds_less_than_2_percent_to_a_call_of_a_millisecond():
    def work():
        end = time.perf_counter() + 1e-3
        while time.perf_counter() < end:
            pass

    clock = Clock(CPU)
    added = []
    for _ in range(200):
        start = time.perf_counter()
        sample = clock.time(work)
        added.append(time.perf_counter() - start - sample.wall_s)
    assert median(added) < 0.02 * 1e-3
