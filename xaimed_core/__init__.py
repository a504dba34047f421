"""Class-activation maps and ROAD for image classifiers, at the price of a forward pass."""

from xaimed_core.explain import Explanation, explain
from xaimed_core.layout import ChannelsFirst, ChannelsLast, Tokens
from xaimed_core.methods import METHODS

__version__ = "0.1.0"

__all__ = ["METHODS", "ChannelsFirst", "ChannelsLast", "Explanation", "Tokens", "__version__", "explain"]
