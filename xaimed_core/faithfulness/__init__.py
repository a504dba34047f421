"""How faithful a map is: ROAD and its relatives, as values of a table that one engine runs."""

from xaimed_core.faithfulness.baselines import BLUR_BIAS, blurred, centre_gaussian, random_maps
from xaimed_core.faithfulness.evaluation import Faithfulness, NoiseSpace, evaluate, road
from xaimed_core.faithfulness.masks import Masks, Order, Ties, masks_of
from xaimed_core.faithfulness.metric import METRICS, Metric, Multiply, Remove, ScoreLike, metric_of
from xaimed_core.faithfulness.removal import Blur, Impute, Mean, Removal, Zero, remove
from xaimed_core.faithfulness.table import RoadTable, road_table

__all__ = [
    "BLUR_BIAS",
    "METRICS",
    "Blur",
    "Faithfulness",
    "Impute",
    "Masks",
    "Mean",
    "Metric",
    "Multiply",
    "NoiseSpace",
    "Order",
    "Removal",
    "Remove",
    "RoadTable",
    "ScoreLike",
    "Ties",
    "Zero",
    "blurred",
    "centre_gaussian",
    "evaluate",
    "masks_of",
    "metric_of",
    "random_maps",
    "remove",
    "road",
    "road_table",
]
