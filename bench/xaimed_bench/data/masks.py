"""Which files of a folder are masks, and of which image."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from xaimed_bench.data.tables import first

_FOLDERS = frozenset(
    ("mask", "masks", "segmentation", "segmentations", "annotations", "labels", "ground_truth", "groundtruth")
)
_NAMED = re.compile(r"(?P<image>.+?)(_segmentation|_mask)(_\d+)?")


def masks_among(files: Mapping[Path, Path]) -> set[Path]:
    """The files that are masks: those in a folder for masks, and those named after an image beside them.

    ``files``: paths, each with the same path below the folder looked through.
    """
    stems = {(p.parent, p.stem) for p in files}
    return {
        p
        for p, below in files.items()
        if any(part.lower() in _FOLDERS for part in below.parts[:-1])
        or ((named := _NAMED.fullmatch(p.stem)) and (p.parent, named["image"]) in stems)
    }


def match_masks(
    images: Mapping[Path, Path], masks: Mapping[Path, Path]
) -> tuple[dict[Path, Path], list[str]]:
    """The one mask of each image that has one, and findings.

    A mask is of the image with its stem ("_segmentation" or "_mask" may follow). Folders around the mask that have
    images in them must be around its image, too: ``masks/glioma/1.png`` is no mask of ``none/1.png``.
    """
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image)
    holding = {part for below in images.values() for part in below.parts[:-1]}
    found: defaultdict[Path, list[Path]] = defaultdict(list)
    lost: list[str] = []
    for mask, below in masks.items():
        named = _NAMED.fullmatch(mask.stem)
        around = holding.intersection(below.parts[:-1])
        fits = [
            image
            for stem in (mask.stem, *((named["image"],) if named else ()))
            for image in by_stem.get(stem, ())
            if around <= set(images[image].parts[:-1])
        ]
        if len(fits) == 1:
            found[fits[0]].append(mask)
        else:
            lost.append(below.as_posix())
    several = [images[image].as_posix() for image, masks in found.items() if len(masks) > 1]
    findings = [f"{len(lost)} masks fit no image, or several, and were left out{first(lost)}"] if lost else []
    if several:
        findings.append(f"{len(several)} images have several masks, of which none was taken{first(several)}")
    return {image: masks[0] for image, masks in found.items() if len(masks) == 1}, findings
