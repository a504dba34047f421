"""The profile card: what this device can do and how much of it the library reaches, part by part."""

from xaimed_bench.profile.run import measure_parts
from xaimed_bench.profile.setting import Setting, setting_for

__all__ = ["Setting", "measure_parts", "setting_for"]
