"""SESS's map: another method's in windows slid over enlarged images, weighed by the windows' scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from xaimed_core.chunks import in_chunks
from xaimed_core.explanation import Route
from xaimed_core.isolation.subject import subject_of, undisturbed
from xaimed_core.methods import Windows
from xaimed_core.progress import Progress
from xaimed_core.raw_maps import RawMap, Run
from xaimed_core.rows import rows_per_forward
from xaimed_core.targets import Targets, repeat_targets

BLUR, SIGMA = 11, 5.0
"""The side of the Gaussian that smooths the map, and its standard deviation."""

_MODE = {1: "linear", 2: "bilinear", 3: "trilinear"}


@final
@dataclass(frozen=True)
class Place:
    """Where a window lies: the size of the enlarged image, and the window's first place on each axis."""

    enlarged: tuple[int, ...]
    start: tuple[int, ...]


def slid(run: Run, targets: Targets, kind: Windows) -> RawMap:
    """The mean over windows whose map is above 0 at a place, of map times score; blurred.

    Source: Tursun et al. 2022 (arXiv 2207.01769), with a window of the images' size and steps of a window. Scores are
    probabilities, as they are where a model gives one number. Windows share a forward where that is faster and rows
    are proven independent (see `rows_per_forward`).
    """
    images = run.images.nan_to_num(0.0, 0.0, 0.0)
    n, size = len(images), tuple(images.shape[2:])
    places = list(places_of(size, size, size, lengths(min(size), kind.scales, kind.growth)))
    subject = subject_of(run.model)
    with undisturbed(subject, images.device):
        rows = rows_per_forward(
            subject.root, run.images, run.logits, len(places), None, run.output, owner=run.model
        )
    maps, scores = list[Tensor](), list[Tensor]()

    def look(part: slice) -> Tensor:
        count = part.stop - part.start
        own = repeat_targets(targets, count)
        made = run.again(cut(images, places[part], size), (kind.of,), own)
        assert made.seen.logits is not None
        scores.append(_score(own, made.seen.logits).view(count, n))
        return made.rescaled.maps.view(count, n, *size)

    with Progress("SESS", len(places) * n, "windows", show=run.progress) as step:
        for part, found in in_chunks(len(places), max(1, rows // n), look):
            maps.append(found)
            step((part.stop - part.start) * n)
    raw = fused(torch.cat(maps), torch.cat(scores), places, size)
    raw = raw.masked_fill(~run.images.flatten(1).isfinite().all(1).view(-1, *[1] * len(size)), torch.nan)
    return RawMap(raw, None, Route("full-forward", f"{kind.of.name} of {len(places)} windows of each image"))


def _score(targets: Targets, logits: Tensor) -> Tensor:
    chances = logits.softmax(1) if logits.ndim == 2 and logits.shape[1] > 1 else logits
    return targets.score(chances).clamp(min=0).float()


def lengths(window: int, scales: int, growth: float) -> list[int]:
    """Of the shorter side of each enlarged image."""
    return [window + round(window * growth) * i for i in range(scales)]


def places_of(
    size: Sequence[int], window: Sequence[int], step: Sequence[int], shorter: Sequence[int]
) -> Iterator[Place]:
    """The windows of images of this ``size``, by the shorter side of each enlarged one; the first axis runs slowest.

    Raises ValueError for a side that is shorter than the window's.
    """
    for length in shorter:
        enlarged = tuple(int(length * side / min(size)) for side in size)
        if any(map(int.__lt__, enlarged, window)):
            raise ValueError(f"every scale must be at least the window's {min(window)}, got {length}")
        axes = map(starts, enlarged, step, window)
        yield from (Place(enlarged, start) for start in product(*axes))


def starts(length: int, step: int, window: int) -> list[int]:
    """Where windows start along an axis; the last is moved back into the image."""
    last = max(length - window, 0)
    return [*range(0, last, step), last]


def cut(images: Tensor, places: Sequence[Place], window: Sequence[int]) -> Tensor:
    """Windows ``[places * n, channels, *window]`` of all images ``[n, channels, *size]``, one place after the other."""
    found, whole = list[Tensor](), images
    smooth = len(window) == 2  # which changes nothing where images are enlarged
    for place in places:
        if place.enlarged == tuple(images.shape[2:]):
            whole = images
        elif place.enlarged != tuple(whole.shape[2:]):
            mode = _MODE[len(window)]
            whole = functional.interpolate(images, place.enlarged, mode=mode, antialias=smooth)
        found.append(whole[:, :, *_slices(place, window)])
    return torch.cat(found)


def _slices(place: Place, window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(first, first + side) for first, side in zip(place.start, window, strict=True))


def paste(maps: Tensor, place: Place, size: Sequence[int]) -> Tensor:
    """Maps ``[n, *window]`` put back where they were cut, 0 around them, at the images' size."""
    whole = maps.new_zeros(len(maps), 1, *place.enlarged)
    whole[:, 0, *_slices(place, maps.shape[1:])] = maps
    if place.enlarged != tuple(size):
        whole = functional.interpolate(whole, tuple(size), mode=_MODE[len(size)], align_corners=False)
    return whole[:, 0]


def fused(
    maps: Tensor,
    scores: Tensor,
    places: Sequence[Place],
    size: Sequence[int],
    *,
    theta: float = 0.0,
    largest: bool = False,
    smooth: bool = True,
) -> Tensor:
    """One map ``[n, *size]`` of the windows' ``maps [m, n, *window]``, weighed by their ``scores [m, n]``.

    The mean where they are above ``theta``, or the ``largest``; then the blur, if ``smooth``. Where every score of an
    image is 0 all windows weigh alike.
    """
    most = scores.amax(0)
    weights = torch.where(most == 0, 1.0, scores / most).to(maps)
    total = maps.new_zeros(maps.shape[1], *size)
    count = torch.zeros_like(total)
    for map_, weight, place in zip(maps, weights, places, strict=True):
        pasted = paste(map_ * weight.view(-1, *[1] * len(size)), place, size)
        if largest:
            total = torch.maximum(total, pasted)
        else:
            above = ~(pasted <= theta)  # NaN counts
            total, count = total + pasted.where(above, 0.0), count + above
    mean = total if largest else total / count.clamp(min=1)
    return blurred(mean) if smooth else mean


def blurred(maps: Tensor) -> Tensor:
    """A Gaussian of `BLUR` places a side along each axis; borders are mirrored without the outermost place."""
    offsets = torch.arange(BLUR, device=maps.device) - BLUR // 2
    taps = (-offsets.square() / (2 * SIGMA**2)).exp().to(maps.dtype)
    taps = taps / taps.sum()
    for axis in range(1, maps.ndim):
        rows = maps.movedim(axis, -1)
        at = torch.arange(-(BLUR // 2), rows.shape[-1] + BLUR // 2, device=maps.device)
        around = 2 * max(rows.shape[-1] - 1, 1)
        at = (at % around).sub(around // 2).abs().neg().add(around // 2).clamp(max=rows.shape[-1] - 1)
        maps = (rows[..., at].unfold(-1, BLUR, 1) @ taps).movedim(-1, axis)
    return maps
