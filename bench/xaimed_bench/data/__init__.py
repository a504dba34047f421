"""Images to explain: seeded phantoms with a known lesion, and folders of real ones."""

from xaimed_bench.data.images import IMAGENET, ImageBatch, Normalisation
from xaimed_bench.data.loading import load_images
from xaimed_bench.data.phantoms import PHANTOM_KINDS, PhantomKind, phantoms

__all__ = [
    "IMAGENET",
    "PHANTOM_KINDS",
    "ImageBatch",
    "Normalisation",
    "PhantomKind",
    "load_images",
    "phantoms",
]
