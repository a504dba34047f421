"""ROAD's throughput, and how much of its time fills removed pixels."""

from __future__ import annotations

from xaimed_bench.measure.clock import Clock
from xaimed_bench.measure.interleave import interleave
from xaimed_bench.profile.setting import Setting
from xaimed_bench.profile.variants import Variant
from xaimed_core import explain
from xaimed_core.faithfulness import masks_of, road
from xaimed_core.faithfulness.metric import TUTORIAL
from xaimed_kernels.impute import impute
from xaimed_reports.compare.ratio import ratio
from xaimed_reports.profile.card import RoadRate

ORDERS = ("morf", "lerf")


def measure_road(setting: Setting) -> RoadRate:
    """ROAD as grad-cam's tutorial sets it (both orders, four fractions), in float32 on LayerCAM's maps."""
    subject, clock = setting.subject(), Clock(setting.device)
    with Variant("fp32").active(setting.device):
        maps = explain(subject.model, subject.images, "layercam", subject.layer, subject.classes).maps[
            "layercam"
        ]
        keep = masks_of(maps, TUTORIAL, ORDERS).keep.flatten(1, 2)
        arms = {
            "road": lambda: road(subject.model, subject.images, maps, targets=list(subject.classes)),
            "impute": lambda: impute(subject.images, keep),
            "forward": subject.forward,
        }
        first_s = {name: clock.first(call)[1] for name, call in arms.items()}
        timings = interleave(arms, first_s, plan=setting.plan, clock=clock).timings
    share = ratio(timings["impute"], timings["road"])
    return RoadRate(
        batch=setting.batch,
        perturbed=keep.shape[1],
        images_per_s=setting.batch / timings["road"].typical_s,
        forwards=ratio(timings["road"], timings["forward"]).value,
        imputer_share=share.value,
        low=share.low,
        high=share.high,
    )
