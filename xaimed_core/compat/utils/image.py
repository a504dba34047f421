"""As ``pytorch_grad_cam.utils.image``, without OpenCV and matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from xaimed_core.semantics import MIN_MAX_EPS

COLORMAP_JET: Final = 2
"""OpenCV's number of its jet colours."""


def preprocess_image(
    img: NDArray[Any], mean: Sequence[float] = (0.5, 0.5, 0.5), std: Sequence[float] = (0.5, 0.5, 0.5)
) -> Tensor:
    """An image ``[h, w, channels]`` to ``[1, channels, h, w]``, ``(img - mean) / std``; uint8 is divided by 255."""
    given = np.array(img)
    if given.dtype.kind not in "fiub" or given.ndim not in (2, 3):
        raise ValueError(
            f"the image must be numbers [h, w] or [h, w, channels], got {given.dtype} {given.shape}"
        )
    array = torch.from_numpy(given if given.ndim == 3 else given[..., None])
    channels = array.shape[2]
    if not {len(mean), len(std)} <= {1, channels} or not all(spread > 0 for spread in std):
        raise ValueError(
            f"mean and std must be {channels} numbers, one per channel of the image {given.shape}, and std above 0; "
            f"got {mean} and {std}"
        )
    pixels = array.float() / 255 if array.dtype == torch.uint8 else array
    centre, spread = (torch.tensor(values, dtype=pixels.dtype) for values in (mean, std))
    return ((pixels - centre) / spread).permute(2, 0, 1)[None].contiguous()


def deprocess_image(img: NDArray[Any]) -> NDArray[np.uint8]:
    """Anything to a picture: centred, scaled to a spread of 0.1 around 0.5, uint8."""
    scaled = (img - np.mean(img)) / (np.std(img - np.mean(img)) + 1e-5) * 0.1 + 0.5
    return (np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def show_cam_on_image(
    img: NDArray[Any],
    mask: NDArray[Any],
    use_rgb: bool = False,
    colormap: int = COLORMAP_JET,
    image_weight: float = 0.5,
) -> NDArray[np.uint8]:
    """A map ``[h, w]`` in [0, 1] as colours over an image ``[h, w, 3]`` in [0, 1], uint8.

    ``use_rgb``: red first; else blue first as OpenCV has it. ``image_weight``: how much of the image shows. Colour maps
    other than jet need OpenCV. Raises ValueError for an image above 1 a map or a weight outside [0, 1].
    """
    img, mask = np.asarray(img), np.asarray(mask)
    if img.dtype.kind not in "fiub" or img.ndim != 3 or img.shape[2] != 3 or mask.dtype.kind not in "fiub":
        raise ValueError(f"the image must be [h, w, 3] and the map [h, w], got {img.shape} and {mask.shape}")
    if not (np.min(img) >= 0 and np.max(img) <= 1):
        raise ValueError(
            f"the image must be in [0, 1], its values go from {np.min(img):g} to {np.max(img):g}; divide it by 255"
        )
    if mask.shape != img.shape[:2] or not (np.min(mask) >= 0 and np.max(mask) <= 1):
        raise ValueError(
            f"the map must be {img.shape[:2]} as the image and in [0, 1]; it is {mask.shape} "
            f"from {np.min(mask):g} to {np.max(mask):g}"
        )
    if not 0 <= image_weight <= 1:
        raise ValueError(f"image_weight must be in [0, 1], got {image_weight}")
    colours = _colours(colormap)[(255 * mask).astype(np.uint8)]
    heatmap = (colours if use_rgb else colours[..., ::-1]).astype(np.float32) / 255
    blended = (1 - image_weight) * heatmap + image_weight * img
    return (255 * (blended / np.max(blended))).astype(np.uint8)


def _colours(colormap: int) -> NDArray[np.uint8]:
    if colormap == COLORMAP_JET:
        levels = np.linspace(0, 4, 256)
        ramps = [np.clip(1.5 - np.abs(levels - peak), 0, 1) for peak in (3, 2, 1)]
        return np.round(255 * np.stack(ramps, 1)).astype(np.uint8)
    try:
        import cv2  # pyright: ignore[reportMissingImports] # optional: only its other colour maps need it
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"colormap {colormap} comes from OpenCV: pip install opencv-python-headless, or leave colormap out for jet"
        ) from None
    try:
        coloured = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], colormap)
    except cv2.error:
        raise ValueError(f"OpenCV has no colormap {colormap}; leave colormap out for jet") from None
    return np.asarray(coloured[0, :, ::-1], np.uint8)


def scale_cam_image(cam: NDArray[Any], target_size: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Maps ``[n, h, w]`` each to [0, 1], with grad-cam's 1e-7, and to ``target_size`` (width, height).

    Volumes ``[n, d, h, w]`` are resized trilinearly, to (width, height, depth).
    """
    maps = torch.from_numpy(np.array(cam, np.float32))
    if maps.ndim not in (3, 4):
        raise ValueError(f"maps must be [n, height, width] or [n, d, h, w], got {tuple(maps.shape)}")
    places = tuple(range(1, maps.ndim))
    maps = maps - maps.amin(places, keepdim=True)
    maps = maps / (MIN_MAX_EPS + maps.amax(places, keepdim=True))
    if target_size is not None:
        if not isinstance(target_size, Sequence) or len(target_size) != len(places) or min(target_size) < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"target_size must be (width, height), got {target_size!r}")
        mode = "bilinear" if len(places) == 2 else "trilinear"
        maps = F.interpolate(maps[:, None], tuple(target_size[::-1]), mode=mode, align_corners=False)[:, 0]
    return maps.numpy()


def scale_accross_batch_and_channels(tensor: NDArray[Any], target_size: Sequence[int]) -> NDArray[np.float32]:
    """`scale_cam_image` of every channel of ``[n, channels, h, w]``."""
    if tensor.ndim != 4:
        raise ValueError(f"the tensor must be [n, channels, h, w], got {tensor.shape}")
    maps = scale_cam_image(np.reshape(tensor, (-1, *tensor.shape[2:])), target_size)
    return maps.reshape(*tensor.shape[:2], *maps.shape[1:])


def create_labels_legend(
    concept_scores: NDArray[Any], labels: Mapping[int, str] | Sequence[str], top_k: int = 2
) -> list[str]:
    """For each concept, with scores ``[k, classes]``, its ``top_k`` classes and their scores, a line each."""
    order = np.argsort(concept_scores, axis=1)[:, ::-1][:, :top_k]
    return [
        "\n".join(f"{','.join(labels[int(c)].split(',')[:3])}:{scores[c]:.2f}" for c in best)
        for best, scores in zip(order, concept_scores, strict=True)
    ]


def show_factorization_on_image(
    img: NDArray[Any],
    explanations: NDArray[Any],
    colors: Sequence[Any] | None = None,
    image_weight: float = 0.5,
    concept_labels: Sequence[str] | None = None,
) -> NDArray[np.uint8]:
    """Concepts' maps ``[k, h, w]`` as colours over an image ``[h, w, 3]`` in [0, 1], each place its strongest.

    With ``concept_labels`` a legend as large as the image stands beside it. Colours and legend need matplotlib.
    """
    maps = np.asarray(explanations)
    if maps.ndim != 3 or maps.shape[1:] != img.shape[:2]:
        raise ValueError(f"maps must be [concepts, h, w] of the image {img.shape}, got {maps.shape}")
    if colors is None:
        from matplotlib import colormaps

        colors = [colormaps["gist_rainbow"](share) for share in np.arange(0, 1, 1 / len(maps))][: len(maps)]
    tints = np.stack([np.asarray(colour, np.float64)[:3] for colour in colors])
    tints = tints / tints.max(axis=1, keepdims=True)  # as bright as can be: the map says how bright
    strongest = maps.argmax(axis=0)
    mask = tints[strongest] * maps.max(axis=0)[..., None]
    shown = (255 * (img * image_weight + mask * (1 - image_weight))).astype(np.uint8)
    if concept_labels is None:
        return shown
    return np.hstack((shown, _legend(concept_labels, tints, shown.shape[:2])))


def _legend(labels: Sequence[str], tints: NDArray[Any], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture of ``size`` (height, width) that names the colours."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(size[1] / 100, size[0] / 100), dpi=100)
    lines = [Line2D([0], [0], color=tuple(tint), lw=5 * size[0] / 256) for tint in tints]
    point = int(14 * size[0] / 256 / max(1, len(labels) / 6))
    figure.legend(lines, labels, loc="center", fontsize=max(point, 1), fancybox=True, shadow=True)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3]
    return np.ascontiguousarray(drawn[: size[0], : size[1]])
