"""Maps over their images, for notebooks and files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from xaimed_core.numbers_given import is_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL_INCHES = 2.2


def new_figure(width: float, height: float) -> Figure:
    """An empty matplotlib figure, in inches. Raises ModuleNotFoundError without matplotlib, which only this needs."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "figures need matplotlib, which is not installed: pip install matplotlib", name=error.name
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def overlay(
    images: Tensor, maps: Mapping[str, Tensor], *, empty: Mapping[str, Tensor], count: int = 8
) -> Figure:
    """One row per image (at most ``count``), one column per method, the map over the image in grey.

    images ``[n, channels, h, w]`` in any normalisation (each is stretched to its own range), maps ``[n, h, w]``.
    A map without positive evidence is marked as empty. Raises ValueError for shapes that do not belong
    together, ModuleNotFoundError without matplotlib.
    """
    if not isinstance(images, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"images must be the tensor that was explained, got {type(images).__name__}")
    if not is_whole(count) or count < 1:
        raise ValueError(f"count must be a number of images, at least 1, got {count!r}")
    for name, of_method in maps.items():
        if images.ndim != 4 or of_method.shape != (len(images), *images.shape[2:]):
            raise ValueError(
                f"the maps of {name} are {tuple(of_method.shape)}, which does not fit images {tuple(images.shape)}; "
                "show the images that were explained"
            )
    rows, columns = min(len(images), count), 1 + len(maps)
    figure = new_figure(CELL_INCHES * columns, CELL_INCHES * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False)
    for i in range(rows):
        grey = _stretched(images[i].float().mean(0)).cpu().numpy()
        for axis, name in zip(axes[i], ("image", *maps), strict=True):
            axis.imshow(grey, cmap="gray", vmin=0, vmax=1)
            axis.set_axis_off()
            if name in maps:
                axis.imshow(maps[name][i].cpu().numpy(), cmap="inferno", alpha=0.5, vmin=0, vmax=1)
                if bool(empty[name][i]):
                    axis.text(0.5, 0.5, "empty", color="white", ha="center", transform=axis.transAxes)
            if i == 0:
                axis.set_title(name, fontsize=9)
    return figure


def _stretched(image: Tensor) -> Tensor:
    low, high = image.min(), image.max()
    return (image - low) / (high - low).clamp(min=1e-12)
