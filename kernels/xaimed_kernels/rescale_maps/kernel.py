"""Triton kernels of ``rescale_maps``: what is done once for an image, then the maps themselves.

Both compute aggregated pixels afresh from the layers' small maps, which is cheaper than to write and read them.
"""

import triton
import triton.language as tl


@triton.jit
def layer_extent(p_raw, count, BLOCK: tl.constexpr):
    """Smallest and largest value of one layer's map after ReLU, and whether any is NaN or infinite (1 or 0)."""
    lows = tl.full([BLOCK], float("inf"), tl.float32)
    highs = tl.zeros([BLOCK], tl.float32)
    strays = tl.zeros([BLOCK], tl.int32)
    for start in tl.range(0, count, BLOCK):
        place = start + tl.arange(0, BLOCK)
        x = tl.load(p_raw + place, mask=place < count, other=0.0).to(tl.float32)
        strays = tl.where(x - x == 0.0, strays, 1)
        x = tl.maximum(x, 0.0)
        lows = tl.minimum(lows, tl.where(place < count, x, float("inf")))
        highs = tl.maximum(highs, x)
    return tl.min(lows, axis=0), tl.max(highs, axis=0), tl.max(strays, axis=0)


@triton.jit
def source_of(pixel, source_size, size):
    """The two source rows (or columns) of a pixel and the weight of the second: half-pixel centres."""
    centre = tl.maximum((pixel.to(tl.float32) + 0.5) * (source_size / size) - 0.5, 0.0)
    near = tl.minimum(centre.to(tl.int32), source_size - 1)
    return near, tl.minimum(near + 1, source_size - 1), centre - near.to(tl.float32)


@triton.jit
def between(p_row, left, right, across):
    """Values of a row between two columns: exactly the left one where both are alike."""
    a, b = tl.load(p_row + left), tl.load(p_row + right)
    return a + (b - a) * across


@triton.jit
def aggregated_pixels(p_unit, sizes, y, x, height, width, LAYERS: tl.constexpr):
    """Pixels [y, x] of the mean over layers, each already from 0 to 1 at its own size."""
    pixels = tl.zeros([y.shape[0], x.shape[0]], tl.float32)
    for i in tl.static_range(LAYERS):
        rows = sizes[2 * i]
        columns = sizes[2 * i + 1]
        top, bottom, down = source_of(y, rows, height)
        left, right, across = source_of(x, columns, width)
        left, right, across = left[None, :], right[None, :], across[None, :]
        upper = between(p_unit + (top * columns)[:, None], left, right, across)
        lower = between(p_unit + (bottom * columns)[:, None], left, right, across)
        pixels += upper + (lower - upper) * down[:, None]
        p_unit += rows * columns
    if LAYERS > 1:
        pixels = pixels * (1.0 / LAYERS)
    return pixels


@triton.jit
def pixel_to_look_at(j, count, source_size, size):
    """The j-th of ``count`` rows (or columns) among which every extreme pixel is: all, or 2 for each source row.

    Between two sources the map is linear, so that its extremes are the first and the last pixel there. Where rounding
    moves that seam by a pixel, the pixel lies on the source itself and bounds both sides.
    """
    first = tl.ceil(((j // 2).to(tl.float32) + 0.5) * (size / source_size) - 0.5).to(tl.int32)
    at_a_seam = tl.minimum(tl.maximum(first + j % 2 - 1, 0), size - 1)
    return tl.where(count < size, at_a_seam, j)


@triton.jit
def image_kernel(
    raws_ptr, raws_stride_n,  # [n, all layers' positions]
    sizes,  # rows and columns of each layer
    unit_ptr,  # as raws, contiguous: each layer's map from 0 to 1
    lows_ptr, highs_ptr,  # [n]: of the aggregated map
    empty_ptr, finite_ptr,  # [n], 1 or 0
    positions, height, width, count_y, count_x, eps,
    rounding,  # part of the largest pixel below which an extent is nothing but rounding
    LAYERS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_Y: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """Program (image): its layers' maps after ReLU and min-max, and the extent of the aggregated map."""
    i_n = tl.program_id(0).to(tl.int64)
    p_raw, p_unit = raws_ptr + i_n * raws_stride_n, unit_ptr + i_n * positions
    stray = 0
    for i in tl.static_range(LAYERS):
        count = sizes[2 * i] * sizes[2 * i + 1]
        low, high, stray_here = layer_extent(p_raw, count, BLOCK)
        stray = stray | stray_here
        extent = high - low + eps
        extent = tl.where(extent > 0.0, extent, 1.0)
        for start in tl.range(0, count, BLOCK):
            place = start + tl.arange(0, BLOCK)
            x = tl.maximum(tl.load(p_raw + place, mask=place < count, other=0.0).to(tl.float32), 0.0)
            tl.store(p_unit + place, (x - low) / extent, mask=place < count)
        p_raw += count
        p_unit += count
    tl.debug_barrier()  # what one thread wrote others read

    p_unit = unit_ptr + i_n * positions
    lows = tl.full([BLOCK_Y, BLOCK_X], float("inf"), tl.float32)
    highs = tl.zeros([BLOCK_Y, BLOCK_X], tl.float32)
    tiles_x = tl.cdiv(count_x, BLOCK_X)
    for tile in tl.range(0, tl.cdiv(count_y, BLOCK_Y) * tiles_x):
        j_y = tile // tiles_x * BLOCK_Y + tl.arange(0, BLOCK_Y)
        j_x = tile % tiles_x * BLOCK_X + tl.arange(0, BLOCK_X)
        y = pixel_to_look_at(tl.minimum(j_y, count_y - 1), count_y, sizes[0], height)
        x = pixel_to_look_at(tl.minimum(j_x, count_x - 1), count_x, sizes[1], width)
        pixels = aggregated_pixels(p_unit, sizes, y, x, height, width, LAYERS)
        lows, highs = tl.minimum(lows, pixels), tl.maximum(highs, pixels)
    low, high = tl.min(tl.min(lows, axis=1), axis=0), tl.max(tl.max(highs, axis=1), axis=0)
    tl.store(lows_ptr + i_n, low)
    tl.store(highs_ptr + i_n, high)
    tl.store(empty_ptr + i_n, ((high - low <= rounding * high) & (stray == 0)).to(tl.int8))
    tl.store(finite_ptr + i_n, (stray == 0).to(tl.int8))


@triton.jit
def rescaled_maps_kernel(
    unit_ptr,  # [n, all layers' positions]
    sizes,  # rows and columns of each layer
    lows_ptr, highs_ptr, empty_ptr, finite_ptr,  # [n]
    maps_ptr,  # [n, height, width]
    positions, height, width, eps,
    LAYERS: tl.constexpr, BLOCK_Y: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """Program (image, tile): aggregated pixels, rescaled by their extent."""
    tiles_x = tl.cdiv(width, BLOCK_X)
    tiles = tl.cdiv(height, BLOCK_Y) * tiles_x
    i_n = (tl.program_id(0) // tiles).to(tl.int64)
    i_tile = tl.program_id(0) % tiles
    y = i_tile // tiles_x * BLOCK_Y + tl.arange(0, BLOCK_Y)
    x = i_tile % tiles_x * BLOCK_X + tl.arange(0, BLOCK_X)
    low, high = tl.load(lows_ptr + i_n), tl.load(highs_ptr + i_n)
    empty, finite = tl.load(empty_ptr + i_n) != 0, tl.load(finite_ptr + i_n) != 0
    extent = tl.where(high > low, high - low + eps, 1.0)
    factor = tl.where(empty, 0.0, 1.0 / extent)
    peak = tl.where(empty, 0.0, (high - low) / extent)  # of the largest pixel: exactly 1 for eps = 0

    inside_y, inside_x = tl.minimum(y, height - 1), tl.minimum(x, width - 1)
    pixels = aggregated_pixels(unit_ptr + i_n * positions, sizes, inside_y, inside_x, height, width, LAYERS)
    maps = tl.where(pixels < high, tl.maximum(pixels - low, 0.0) * factor, peak)
    maps = tl.where(finite, maps, float("nan"))
    p_map = maps_ptr + i_n * height * width + (y * width)[:, None] + x[None, :]
    tl.store(p_map, maps, mask=(y < height)[:, None] & (x < width)[None, :])
