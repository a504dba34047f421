"""The CPU path of ``rescale_maps``: the definition is already a few passes over small maps."""

from __future__ import annotations

from xaimed_kernels.rescale_maps.reference import rescale_maps_reference as rescale_maps_cpu

__all__ = ["rescale_maps_cpu"]
