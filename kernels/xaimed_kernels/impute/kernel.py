"""Triton kernels of the imputation: the multigrid cycle of `compiled.cycle`, matrix-free on the image.

A *system* is a mask of an image, a *plane* one channel of a system. Grids are stored with zeros around them
(`kernel_stencil`). The image's own grid has the image's precision, float32 or float64, coarser grids float32. Planes
that have converged (`done`) return at once, so that a fixed list of launches serves all, without the host ever
waiting. What a kernel is not specialised on differs between batches or between grids: each size of image
compiles once. Here: images in, planes judged after each cycle, images out; the cycle's steps are in `kernel_image` and
`kernel_coarse`, the coarse operators in `kernel_operators`.
"""

import triton
import triton.language as tl

from xaimed_kernels.impute.kernel_image import first_pixel
from xaimed_kernels.impute.kernel_stencil import diagonal


@triton.jit
def mean_and_spread(p_image, p_keep, pixels, dtype: tl.constexpr, BLOCK: tl.constexpr):
    """Of a plane's kept pixels the mean, the range (NaN where one is not finite), and how many there are."""
    total = tl.zeros([BLOCK], dtype)
    count = tl.zeros([BLOCK], tl.int32)
    low = tl.full([BLOCK], float("inf"), dtype)
    high = tl.full([BLOCK], float("-inf"), dtype)
    for start in tl.range(0, pixels, BLOCK):
        at = start + tl.arange(0, BLOCK)
        kept = tl.load(p_keep + at, mask=at < pixels, other=0) != 0
        value = tl.load(p_image + at, mask=kept, other=0.0)
        total += value
        count += kept.to(tl.int32)
        low = tl.minimum(low, tl.where(kept, value, float("inf")))
        high = tl.maximum(high, tl.where(kept, value, float("-inf")))
    kept_pixels = tl.sum(count, axis=0)
    mean = tl.sum(total, axis=0) / tl.maximum(kept_pixels, 1)
    spread = (
        tl.max(high, axis=0) - tl.min(low, axis=0) + (mean - mean)
    )  # NaN where a kept pixel is not finite
    return mean, tl.where(kept_pixels == 0, 0.0, spread), kept_pixels


@triton.jit(do_not_specialize=("masks", "channels", "height", "width", "room4", "stride4"))
def load_kernel(
    images_ptr,  # [n, c, h, w]
    keep_ptr,  # [n, p, h, w], 1 or 0
    u_ptr, first_ptr, second_ptr,  # [n, p, c, room]
    relax_ptr,  # [n, p, room]
    means_ptr, spreads_ptr, errors_ptr, last_ptr, bits_ptr, done_ptr, cycles_ptr,  # [n, p, c]
    masks, channels, height, width,
    room4, stride4,  # quarters
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane): kept pixels as (value - mean) / range, the rest 0; planes without a system are done."""
    plane = tl.program_id(0)
    system, pixels = plane // channels, height * width
    p_image = images_ptr + (system // masks * channels + plane % channels).to(tl.int64) * pixels
    p_keep = keep_ptr + system.to(tl.int64) * pixels
    dtype: tl.constexpr = u_ptr.dtype.element_ty
    mean, spread, kept_pixels = mean_and_spread(p_image, p_keep, pixels, dtype, BLOCK)
    scale = tl.where(spread > 0.0, 1.0 / tl.where(spread > 0.0, spread, 1.0), 0.0)
    room, stride = 4 * room4, 4 * stride4
    base, system_base = plane.to(tl.int64) * room, system.to(tl.int64) * room
    for start in tl.range(0, room, BLOCK):  # whole blocks
        at = start + tl.arange(0, BLOCK)
        pixel = at - first_pixel(stride)
        y, x = pixel // stride, pixel % stride
        inside = (pixel >= 0) & (y < height) & (x < width)
        removed = tl.load(p_keep + y * width + x, mask=inside, other=1) == 0
        kept = inside & (removed == 0)
        value = tl.load(p_image + y * width + x, mask=kept, other=0.0)
        tl.store(u_ptr + base + at, tl.where(kept, (value - mean) * scale, 0.0))
        tl.store(first_ptr + base + at, tl.zeros([BLOCK], dtype))
        tl.store(second_ptr + base + at, tl.zeros([BLOCK], dtype))
        if plane % channels == 0:
            weights = tl.maximum(diagonal(y, x, height, width), 1).to(dtype)
            tl.store(relax_ptr + system_base + at, tl.where(removed, 1.0 / weights, 0.0))
    idle = (spread == 0.0) | (spread != spread) | (kept_pixels == pixels)
    tl.store(means_ptr + plane, mean)
    tl.store(spreads_ptr + plane, spread)
    tl.store(errors_ptr + plane, tl.where(spread != spread, spread, tl.where(idle, 0.0, float("inf"))))
    tl.store(last_ptr + plane, 0.0)
    tl.store(bits_ptr + plane, 0)
    tl.store(cycles_ptr + plane, 0)
    tl.store(done_ptr + plane, idle.to(tl.int32))


@triton.jit(do_not_specialize=("planes", "cycle"))
def judge_kernel(
    bits_ptr, last_ptr, errors_ptr, cycles_ptr, done_ptr,  # [planes]
    planes, cycle, tol, rate,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (block of planes): the error left after this cycle, estimated from its step as in `compiled.cycle`."""
    plane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    m_plane = plane < planes
    busy = m_plane & (tl.load(done_ptr + plane, mask=m_plane, other=1) == 0)
    step = tl.load(bits_ptr + plane, mask=busy, other=0).to(tl.float32, bitcast=True)
    last = tl.load(last_ptr + plane, mask=busy, other=0.0)
    shown = tl.where((cycle > 2) & (last > 0.0), step / tl.where(last > 0.0, last, 1.0), 0.0)
    left = tl.maximum(rate, tl.minimum(shown, 0.9))
    stray = (step != step) | (step == float("inf"))
    error = tl.where(stray | (cycle < 2), float("inf"), step * left / (1.0 - left))
    tl.store(errors_ptr + plane, error, mask=busy)
    tl.store(cycles_ptr + plane, tl.zeros([BLOCK], tl.int32) + cycle, mask=busy)
    tl.store(last_ptr + plane, step, mask=busy)
    tl.store(bits_ptr + plane, tl.zeros([BLOCK], tl.int32), mask=busy)
    tl.store(done_ptr + plane, ((error <= tol) | stray).to(tl.int32), mask=busy)


@triton.jit(do_not_specialize=("masks", "channels", "height", "width", "room4", "stride4", "tiles"))
def store_kernel(
    images_ptr,  # [n, c, h, w]
    keep_ptr,  # [systems, h, w]
    u_ptr,  # [planes, room]
    out_ptr,  # [planes, h, w]
    means_ptr, spreads_ptr,  # [planes]
    masks, channels, height, width, room4, stride4, tiles,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (plane, tile): kept pixels as they are, removed ones back in the image's units."""
    plane = tl.program_id(0) // tiles
    at = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    system, pixels, stride = plane // channels, height * width, 4 * stride4
    m_at = at < pixels
    p_image = images_ptr + (system // masks * channels + plane % channels).to(tl.int64) * pixels
    kept = tl.load(keep_ptr + system.to(tl.int64) * pixels + at, mask=m_at, other=1) != 0
    value = tl.load(p_image + at, mask=m_at & kept, other=0.0)
    p_u = u_ptr + plane.to(tl.int64) * room4 * 4 + first_pixel(stride) + at // width * stride + at % width
    filled = tl.load(p_u, mask=m_at & (kept == 0), other=0.0)
    filled = tl.load(means_ptr + plane) + tl.load(spreads_ptr + plane) * filled
    tl.store(out_ptr + plane.to(tl.int64) * pixels + at, tl.where(kept, value, filled), mask=m_at)
