"""Class-activation maps and ROAD for image classifiers, at the price of a forward pass.

Names are loaded at first use, so that `xaimed report` and `xaimed compare` start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xaimed_core.engine import Explanation, explain
    from xaimed_core.faithfulness import METRICS, Faithfulness, RoadTable, evaluate, road, road_table
    from xaimed_core.hybrids import hybrid
    from xaimed_core.layout import ChannelsFirst, ChannelsLast, Tokens
    from xaimed_core.localisation import LOCALISATION, Localisation, best_threshold, evaluate_localisation
    from xaimed_core.methods import METHODS

__version__ = "0.1.0"

__all__ = [
    "LOCALISATION",
    "METHODS",
    "METRICS",
    "ChannelsFirst",
    "ChannelsLast",
    "Explanation",
    "Faithfulness",
    "Localisation",
    "RoadTable",
    "Tokens",
    "__version__",
    "best_threshold",
    "evaluate",
    "evaluate_localisation",
    "explain",
    "hybrid",
    "road",
    "road_table",
]

_NAMES = {
    "engine": "Explanation explain",
    "faithfulness": "METRICS Faithfulness RoadTable evaluate road road_table",
    "hybrids": "hybrid",
    "layout": "ChannelsFirst ChannelsLast Tokens",
    "localisation": "LOCALISATION Localisation best_threshold evaluate_localisation",
    "methods": "METHODS",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
