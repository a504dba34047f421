"""What is asked of CUDA is asked of the tensors' device, whichever is current (with a pretended CUDA)."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from xaimed_kernels.launching import is_capturing


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A stack of current devices, of which only the stream of device 1 is being captured."""
    devices = [0]

    @contextmanager
    def device(chosen: torch.device) -> Iterator[None]:
        devices.append(chosen.index)
        yield
        devices.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: devices[-1] == 1)
    return devices


def test_a_capture_is_looked_for_on_the_tensors_device(current: list[int]) -> None:
    assert is_capturing(torch.device("cuda:1"))
    assert not is_capturing(torch.device("cuda:0"))
    current.append(1)
    assert not is_capturing(torch.device("cuda:0"))
    assert is_capturing(torch.device("cuda:1"))
    assert not is_capturing(torch.device("cpu"))
    assert current == [0, 1]
