"""The profile card: what this device can do and how much of it the library reaches, part by part."""

from xaimed_bench.profile.run import measure_parts
from xaimed_bench.profile.setting import Setting, choose_setting

__all__ = ["Setting", "choose_setting", "measure_parts"]
