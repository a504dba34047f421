"""What counted kernels take on a GPU at least: the longer of issuing their instructions and moving their bytes.

A prediction, not a measurement. It knows nothing of launches, latency, caches, or what the assembler makes of PTX.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from xaimed_bench.profile.roofs import measure_copy
from xaimed_bench.profile.setting import Setting
from xaimed_kernels.operations import Case, Operation, images_in
from xaimed_reports.profile.card import Predicted, PredictedTime, Rates
from xaimed_reports.profile.static import Facts, Found, load_static
from xaimed_reports.store.jsonform import UnusableError

SECTOR_BYTES = 32
LIKELY = 0.5
"""Of the issue rate, for kernels that wait at barriers and for reductions."""


def predict(setting: Setting) -> Predicted:
    """Every bench case of every operation. Raises UnusableError as `accepted_counts` does."""
    from xaimed_bench.profile.predicted.counts import counted_cases, triton_name

    counted = accepted_counts(setting)
    rates = setting.rates or _measured(setting)
    rows = tuple(predicted_time(*pair, counted[name], rates) for name, pair in counted_cases().items())
    return Predicted(rates, "given" if setting.rates else "measured", triton_name(), rows)


def accepted_counts(setting: Setting) -> Found:
    """By case and kernel.

    Raises UnusableError where there is neither a GPU to measure nor rates of one, where Triton is not installed, or
    where a case's counts were not accepted for this Triton.
    """
    if setting.rates is None and setting.device.type != "cuda":
        raise UnusableError("a prediction on a CPU needs --issue-rate and --bandwidth of a GPU")
    if find_spec("triton") is None:
        raise UnusableError("counts hold for one Triton, which is not installed; it exists for Linux only")
    from xaimed_bench.profile.predicted.counts import counted_cases, triton_name

    found = load_static(setting.counts, triton_name()) or {}
    if missing := counted_cases().keys() - found.keys():
        raise UnusableError(
            f"{setting.counts} holds no counts of {min(missing)} for {triton_name()}; make them with: "
            "xaimed kernels --counts --accept"
        )
    return found


def predicted_time(
    operation: Operation, case: Case, counted: Mapping[str, Facts], rates: Rates
) -> PredictedTime:
    """One case, from the counts of its first image by kernel."""
    images, call = images_in(case), counted["call"]
    kernels = [facts for name, facts in counted.items() if name != "call"]
    issued = [images * facts["warp_instructions"] for facts in kernels]
    touched = [images * SECTOR_BYTES * facts["touched_sectors"] for facts in kernels]

    def seconds(share: float) -> float:
        pairs = zip(issued, touched, strict=True)
        return sum(max(n / (share * rates.issue_per_s), size / rates.bytes_per_s) for n, size in pairs)

    return PredictedTime(
        operation=operation.name,
        case=case.label,
        launches=call["launches"],
        warp_instructions=sum(issued),
        touched_bytes=sum(touched),
        needed_bytes=images * call["moved_bytes"],
        seconds=seconds(1.0),
        likely_s=seconds(LIKELY),
    )


def _measured(setting: Setting) -> Rates:
    from xaimed_bench.profile.predicted.issue_rate import measure_issue_rate

    return Rates(measure_issue_rate(setting.device), measure_copy(setting))
