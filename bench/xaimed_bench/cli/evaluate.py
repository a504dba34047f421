"""What the maps of a network are worth: ROAD and its relatives, localisation, baselines; image by image.

  xaimed evaluate FOLDER --checkpoint checkpoint.safetensors --out OUT        a network of xaimed train
  xaimed evaluate FOLDER --model resnet50 --checkpoint weights.pt --out OUT   weights of your own
  xaimed evaluate ... --resume                                                go on after a stop
  torchrun --nproc-per-node 4 -m xaimed_bench evaluate ...                    several processes, one table

Every test image is explained by every method at every layer, in one pass. OUT holds settings.json, rows/ (Parquet, a
file per batch), summary.json, report.md and report.html. A run that is killed loses one batch at most. Exit codes: 0
done, images that cannot be read are named; 2 input that cannot be used, or an OUT of other settings.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from xaimed_bench.cli.data import add_drop_leaks
from xaimed_bench.cli.given import count, folder_to_write
from xaimed_bench.device import DEVICE_HELP
from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    import torch

    from xaimed_bench.data.sets import ImageSet, Item
    from xaimed_bench.networks import Network
    from xaimed_bench.study.evaluate.run import Work
    from xaimed_bench.study.evaluate.settings import Settings
    from xaimed_bench.study.evaluate.shards import Process
    from xaimed_reports.study.evaluation import Evaluation

_FEW = 10
"""Notes printed; the rest is written."""
SPLITS = ("testing", "validation", "all")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The images, the network, what is asked, and where to write."""
    parser.add_argument("data", type=Path, metavar="FOLDER", help="the images")
    parser.add_argument("--out", type=folder_to_write, required=True, help="where rows and report go")
    parser.add_argument(
        "--model", metavar="NAME", help="of the list in the docs, timm:NAME or package.module:function"
    )
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the network's weights")
    parser.add_argument("--init", default="scratch", help="without --checkpoint: scratch, imagenet or a file")
    parser.add_argument("--layer", action="append", metavar="LAYER", help="last, earlier, before or a dotted name; "
                        "may be given again; default: last and earlier where known")  # fmt: skip
    parser.add_argument("--methods", metavar="NAMES", help="with commas between; default: the paper's five and "
                        "layercam x gradcam++")  # fmt: skip
    parser.add_argument("--metrics", metavar="NAMES", help="with commas between; default: all")
    parser.add_argument(
        "--split", choices=SPLITS, default="testing", help="which images; default: %(default)s"
    )
    parser.add_argument("--rename", action="append", type=_renaming, default=[], metavar="CLASS=NAME",
                        help="what the network calls a class of the images; may be given again")  # fmt: skip
    parser.add_argument(
        "--size", type=count(16), help="pixels a side; default: what the network was trained on"
    )
    parser.add_argument("--limit", type=count(1), help="at most so many images, spread evenly")
    parser.add_argument("--threshold", type=_share, default=0.5, help="of iou; default: %(default)s")
    parser.add_argument(
        "--tolerance", type=count(0), default=15, help="pixels of the pointing game (%(default)s)"
    )
    parser.add_argument("--batch", type=count(1), default=4, help="images per call; default: %(default)s")
    parser.add_argument(
        "--seed", type=count(0), default=0, help="of noise and random maps; default: %(default)s"
    )
    parser.add_argument(
        "--workers", type=count(0), default=1, help="decoding processes; default: %(default)s"
    )
    parser.add_argument("--device", help=DEVICE_HELP)
    parser.add_argument("--resume", action="store_true", help="go on with what OUT holds")
    parser.add_argument("--no-images", action="store_true", help="no pictures of images in the report")
    add_drop_leaks(parser)


def run(given: argparse.Namespace) -> int:
    """Evaluate, summarise, report. Raises UnusableError for what cannot be used."""
    from xaimed_bench.device import device_named
    from xaimed_bench.study.evaluate.processes import agree, local_rank, processes, wait
    from xaimed_bench.study.evaluate.run import run as go
    from xaimed_bench.study.evaluate.settings import keep_settings
    from xaimed_bench.study.evaluate.shards import missing, owned

    device = device_named(given.device)
    on_cuda = device.type == "cuda"
    with processes(on_cuda) as process:
        if on_cuda and process.world > 1 and given.device is None:
            device = device_named(f"cuda:{local_rank()}")
        error, prepared = _prepared(given, device, process)
        agree(process, None if prepared is None else prepared[0].settings, error)
        assert prepared is not None
        work, images = prepared
        with owned(given.out, process):
            error = None
            if process.rank == 0:
                error = _refusal(lambda: keep_settings(given.out, work.settings, resume=given.resume))
            agree(process, None, error)
            if process.rank == 0:
                _announce(work, len(missing(given.out, work.batches)))
            wait(process)
            go(work, given.out)
            wait(process)
            if process.rank == 0:
                _finish(given, work, images)
    return 0


def _refusal(call: Callable[[], None]) -> UnusableError | None:
    try:
        call()
    except UnusableError as error:
        return error
    return None


def _prepared(
    given: argparse.Namespace, device: torch.device, process: Process
) -> tuple[UnusableError | None, tuple[Work, ImageSet] | None]:
    from xaimed_bench.data.sets import open_set

    try:
        images = open_set(given.data, seed=given.seed, drop_leaks=given.drop_leaks)
        images = _renamed(images, dict(given.rename))
        return None, (_work(given, images, device, process), images)
    except UnusableError as error:
        return error, None
    except (ValueError, FileNotFoundError, NotADirectoryError) as error:
        return UnusableError(str(error)), None


def _renamed(images: ImageSet, names: dict[str, str]) -> ImageSet:
    """The set with its classes called as the network calls them. Raises UnusableError for a class it lacks."""
    from dataclasses import replace

    if lacking := sorted(names.keys() - set(images.classes)):
        raise UnusableError(
            f"--rename {lacking[0]}: no such class; there are {', '.join(images.classes) or 'none'}"
        )
    items = tuple(replace(item, label=names.get(item.label or "", item.label)) for item in images.items)
    return replace(images, items=items, classes=tuple(sorted({names.get(c, c) for c in images.classes})))


def _work(given: argparse.Namespace, images: ImageSet, device: torch.device, process: Process) -> Work:
    from xaimed_bench.networks import open_network
    from xaimed_bench.study.evaluate.run import Work
    from xaimed_bench.tensor_files import read_header

    if given.checkpoint is None and given.model is None:
        raise UnusableError(
            "give --checkpoint FILE of xaimed train, or --model NAME; see xaimed evaluate --help"
        )
    names = (
        None if given.checkpoint and "network" in read_header(given.checkpoint) else images.classes or None
    )
    network = open_network(
        given.model, checkpoint=given.checkpoint, classes=names, init=given.init, seed=given.seed
    )
    if unknown := sorted(set(images.classes) - set(network.classes)):
        raise UnusableError(
            f"{given.data} has the class {unknown[0]!r}, and the network knows {', '.join(network.classes)}; "
            f"say which it is: --rename '{unknown[0]}=NAME'"
        )
    items = _items(given, images)
    settings = _settings(given, images, items, network)
    for name in settings.layers.values():
        try:
            network.model.get_submodule(name)
        except AttributeError:
            raise UnusableError(f"--layer {name}: {network.title} has no such module") from None
    model = network.model.to(device)
    return Work(model, network.normalisation, items, settings, device, given.workers, process)


def _items(given: argparse.Namespace, images: ImageSet) -> tuple[Item, ...]:
    """The images of the split, of which --limit takes some, spread evenly."""
    found = images.items if given.split == "all" else images.split(given.split)
    if not found:
        raise UnusableError(f"{given.data} has no {given.split} image; give --split all")
    if given.limit and given.limit < len(found):
        found = tuple(found[i * len(found) // given.limit] for i in range(given.limit))
    return found


def _settings(
    given: argparse.Namespace, images: ImageSet, items: tuple[Item, ...], network: Network
) -> Settings:
    import hashlib

    import torch

    from xaimed_bench.study.evaluate import maps, scores
    from xaimed_bench.study.evaluate.settings import Settings
    from xaimed_core import METHODS, __version__
    from xaimed_core.faithfulness.metric import TUTORIAL

    weights = hashlib.sha256()
    for name, tensor in network.model.state_dict().items():
        weights.update(name.encode() + tensor.contiguous().numpy().tobytes())
    seen = hashlib.sha256(images.digest.encode() + "\n".join(item.name for item in items).encode())
    return Settings(
        network=network.title,
        weights=weights.hexdigest()[:16],
        init=network.loaded,
        layers=_layers(given, network),
        methods=_names("--methods", given.methods, maps.ALL, (*METHODS, *maps.HYBRIDS)),
        metrics=scores.with_parts(_names("--metrics", given.metrics, scores.ALL, scores.ALL)),
        data=images.name,
        split=given.split,
        images=seen.hexdigest()[:16],
        count=len(items),
        classes=network.classes,
        size=given.size or network.size,
        batch=given.batch,
        removed=TUTORIAL,
        tolerance=float(given.tolerance),
        threshold=given.threshold,
        seed=given.seed,
        version=__version__,
        torch=torch.__version__,
    )


def _layers(given: argparse.Namespace, network: Network) -> dict[str, str]:
    known = network.layers
    asked = given.layer or [role for role in ("last", "earlier") if role in known]
    if not asked:
        raise UnusableError(
            f"no layer of {network.title} is known by a role; give --layer with a dotted name"
        )
    return {name: known.get(name, name) for name in asked}


def _names(
    option: str, text: str | None, default: tuple[str, ...], known: tuple[str, ...]
) -> tuple[str, ...]:
    if text is None:
        return default
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in known]:
        raise UnusableError(f"{option}: no {unknown[0]!r}; there are {', '.join(known)}")
    if not names:
        raise UnusableError(f"{option}: nothing given; there are {', '.join(known)}")
    return names


def _renaming(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not (old and sign and new):
        raise argparse.ArgumentTypeError(f"{text!r} given; give CLASS=NAME")
    return old, new


def _share(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given; give a number between 0 and 1")
    return found


def _announce(work: Work, left: int) -> None:
    """How much there is to do, before the first batch."""
    from xaimed_bench.study.evaluate.maps import BASELINES, methods_needed
    from xaimed_bench.study.evaluate.scores import forwards_per_map
    from xaimed_core import METHODS
    from xaimed_core.methods import Projection

    asked = work.settings
    signs = sum(
        isinstance(METHODS[m].kind, Projection) for m in methods_needed(asked.methods) if m in asked.methods
    )
    count = len(BASELINES) + len(asked.layers) * (len(asked.methods) + signs + 1)
    each = count * forwards_per_map(asked.metrics, asked.removed)
    print(
        f"{asked.count} images of {asked.data} ({asked.split}), {count} maps each, {each:,} forwards of perturbed "
        f"images each; {left} of {work.batches} batches to do"
    )


def _finish(given: argparse.Namespace, work: Work, images: ImageSet) -> None:
    """Summary, report and pictures, once all rows are there."""
    import json

    from xaimed_bench.cli.given import write
    from xaimed_bench.study.evaluate.overlays import overlays
    from xaimed_bench.study.evaluate.shards import missing, notes
    from xaimed_reports.study.evaluation import store
    from xaimed_reports.study.report import report_markdown, report_page
    from xaimed_reports.study.words import findings

    if lost := missing(given.out, work.batches):
        raise UnusableError(
            f"{len(lost)} batches are missing in {given.out}; do all processes write to one folder?"
        )
    said = notes(given.out)
    for note in said[:_FEW]:
        print(f"{note['image']}: {note['what']}")
    if len(said) > _FEW:
        print(f"... and {len(said) - _FEW} more notes, in {given.out / 'notes.json'}")
        write(given.out / "notes.json", json.dumps(said, indent=1))
    print("summing up and timing the methods")
    found = _summary(given, work, images)
    write(given.out / "summary.json", store(found))
    pictures = [] if given.no_images else overlays(work, given.out)
    write(given.out / "report.md", report_markdown(found, [(caption, name) for caption, name, _ in pictures]))
    write(given.out / "report.html", report_page(found, [(caption, data) for caption, _, data in pictures]))
    print("\n".join(findings(found)))
    print(f"\nReport: {given.out / 'report.html'}; rows: {given.out / 'rows'}")


def _summary(given: argparse.Namespace, work: Work, images: ImageSet) -> Evaluation:
    import sys
    from dataclasses import replace

    from xaimed_bench.measure.machine import machine_facts
    from xaimed_bench.study.evaluate.costs import costs
    from xaimed_bench.study.evaluate.run import first_images
    from xaimed_bench.study.evaluate.summary import summarise
    from xaimed_reports.store.devices import device_name

    ways = {
        way: frozenset(leak.name for leak in images.leaks if (leak.way == "near") == way)
        for way in (False, True)
    }
    found = summarise(given.out, ways[False], ways[True])
    asked = work.settings
    words = " ".join(["xaimed", *(Path(w).name if "/" in w else w for w in sys.argv[1:])])
    return replace(
        found,
        costs=costs(work.model, first_images(work), asked.layers, asked.methods),
        machine=device_name(machine_facts(work.device)),
        command=words,
    )
