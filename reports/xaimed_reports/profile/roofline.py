"""The roofline picture: what each operation reaches, under the roofs that were measured on the same device."""

from __future__ import annotations

from math import log10
from typing import Any

from xaimed_reports.profile.card import Card, KernelShare
from xaimed_reports.show.drawing import as_file
from xaimed_reports.store.devices import device_name

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
COLOURS = ("#0b6e4f", "#9a4f00", "#3b5bdb", "#b3261e", "#7048a8", "#5c5f66")
MOST_LABELS = 40


def roofline(card: Card) -> str | None:
    """The picture as SVG; None where roofs or operations were not measured.

    Across: operations per byte that a fully fused operation must move; up: operations per second. The slanted line is
    the copy roof, the level ones are the matrix products.
    """
    if card.roofs is None or not card.kernels:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes: Any = figure.add_subplot(xscale="log", yscale="log")
    _draw_roofs(axes, card)
    _draw_operations(axes, card.kernels)
    axes.set_xlabel("operations per byte that must be moved (labels: shape and share of the nearest roof)")
    axes.set_ylabel("operations per second")
    paths = {"triton": "Triton kernels", "cpu": "CPU paths of the operations"}
    axes.set_title(f"{device_name(card.machine)}: {paths[card.kernels[0].path]}", loc="left")
    axes.grid(visible=True, which="major", color="#d0d7de", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return as_file(figure)


def _draw_roofs(axes: Any, card: Card) -> None:
    roofs, kernels = card.roofs, card.kernels
    assert roofs is not None
    assert kernels is not None
    top = max(roofs.matrix_flops_per_s.values())
    low = min(_intensity(k) for k in kernels) / 3
    high = max(*(_intensity(k) for k in kernels), top / roofs.copy_bytes_per_s) * 3
    axes.set_xlim(low, high)
    axes.set_ylim(min(_rate(k) for k in kernels) / 3, top * 3)
    ridge = top / roofs.copy_bytes_per_s
    axes.plot([low, ridge], [low * roofs.copy_bytes_per_s, top], color="#1b1f24", linewidth=1.6)
    axes.annotate(
        f"copy {roofs.copy_bytes_per_s / 1e9:.3g} GB/s",
        (low * 1.15, low * 1.15 * roofs.copy_bytes_per_s),
        textcoords="offset points",
        xytext=(10, 0),
        va="top",
        fontsize=9,
    )
    for name, rate in roofs.matrix_flops_per_s.items():
        start = rate / roofs.copy_bytes_per_s
        axes.plot([start, high], [rate, rate], color="#1b1f24", linewidth=1.2, linestyle="--")
        axes.annotate(
            f"matrix product {name}, {rate / 1e12:.3g} TFLOP/s",
            (high, rate),
            textcoords="offset points",
            xytext=(-4, 4),
            ha="right",
            fontsize=9,
        )


def _draw_operations(axes: Any, kernels: tuple[KernelShare, ...]) -> None:
    """A marker for each case; where there are too many to read, only float32 in the usual layout is labelled."""
    colours: dict[str, str] = {}
    for i, operation in enumerate(dict.fromkeys(k.operation for k in kernels)):
        colours[operation] = COLOURS[i % len(COLOURS)]
        own = [k for k in kernels if k.operation == operation]
        axes.plot(
            [_intensity(k) for k in own],
            [_rate(k) for k in own],
            linestyle="none",
            marker=MARKERS[i % len(MARKERS)],
            color=colours[operation],
            label=operation,
        )
    shown = [k for k in kernels if len(kernels) <= MOST_LABELS or not _is_variation(k)]
    _label(axes, sorted(shown, key=_rate), colours)


def _is_variation(kernel: KernelShare) -> bool:
    return bool({"channels_last", "bf16"} & set(kernel.case.split("-")))


def _label(axes: Any, kernels: list[KernelShare], colours: dict[str, str]) -> None:
    """A label right of each point, from below; one that would cover another is raised, a thin line leads to it."""
    (left, right), (bottom, top) = (map(log10, limits) for limits in (axes.get_xlim(), axes.get_ylim()))
    width, height = 0.2 * (right - left), 0.025 * (top - bottom)
    placed: list[tuple[float, float]] = []
    for kernel in kernels:
        x, own = log10(_intensity(kernel)), log10(_rate(kernel))
        y = own
        while any(abs(x - px) < width and abs(y - py) < height for px, py in placed):
            y += height / 4
        placed.append((x, y))
        moved = y > own + height
        axes.annotate(
            f"{kernel.case} {kernel.roof_share:.0%}",
            (10**x, 10**own),
            xytext=(10 ** (x + 0.012 * (right - left)), 10**y),
            fontsize=7,
            va="center",
            color=colours[kernel.operation],
            arrowprops={"arrowstyle": "-", "color": "#8c959f", "linewidth": 0.5, "relpos": (0, 0.5)}
            if moved
            else None,
        )


def _rate(kernel: KernelShare) -> float:
    return kernel.flops / kernel.seconds


def _intensity(kernel: KernelShare) -> float:
    return kernel.flops / kernel.moved_bytes
