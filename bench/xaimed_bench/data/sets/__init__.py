"""Folders of images as sets to train on, to validate on and to test on."""

from xaimed_bench.data.sets.items import Box, ImageSet, Item, Leak, Leaking, SplitName, Way
from xaimed_bench.data.sets.opening import open_set

__all__ = ["Box", "ImageSet", "Item", "Leak", "Leaking", "SplitName", "Way", "open_set"]
