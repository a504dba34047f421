"""Precisions and layouts in which one model is explained."""

from __future__ import annotations

import copy
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import final

import torch

from xaimed_bench.measure.subject import Subject


@final
@dataclass(frozen=True)
class Variant:
    """How the model runs; weights stay float32. ``autocast``: the dtype of matrix products and convolutions."""

    name: str
    autocast: torch.dtype | None = None
    channels_last: bool = False
    tf32: bool = False

    @contextmanager
    def active(self, device: torch.device) -> Generator[None]:
        """Inside, float32 means float32, or TF32 where the variant says so; the caller's flags come back."""
        with ExitStack() as stack:
            if device.type == "cuda":
                stack.enter_context(_tf32(self.tf32))
            if self.autocast is not None:
                stack.enter_context(torch.autocast(device.type, self.autocast))
            yield

    def of(self, subject: Subject) -> Subject:
        """The subject in this variant's layout; in channels_last a copy of the model."""
        if not self.channels_last:
            return subject
        model = copy.deepcopy(subject.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = subject.images.contiguous(memory_format=torch.channels_last)
        return replace(subject, model=model, images=images)


def list_variants(device: torch.device) -> tuple[Variant, ...]:
    """What is worth knowing on this kind of device; the first is plain float32."""
    plain = (Variant("fp32"), Variant("channels_last", channels_last=True))
    bf16 = (
        Variant("bf16", autocast=torch.bfloat16),
        Variant("bf16 channels_last", autocast=torch.bfloat16, channels_last=True),
    )
    if device.type != "cuda":
        return (*plain, *bf16)
    return (*plain, Variant("tf32", tf32=True), *bf16, Variant("fp16", autocast=torch.float16))


@contextmanager
def _tf32(allowed: bool) -> Generator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
