"""How well a map finds the lesion: pointing game, mass, IoU, AUPRC and relatives, as values of a table."""

from xaimed_core.localisation.evaluation import Localisation, evaluate_localisation
from xaimed_core.localisation.metric import LOCALISATION, LocalisationMetric
from xaimed_core.localisation.thresholds import THRESHOLDS, best_threshold, ious

__all__ = [
    "LOCALISATION",
    "THRESHOLDS",
    "Localisation",
    "LocalisationMetric",
    "best_threshold",
    "evaluate_localisation",
    "ious",
]
