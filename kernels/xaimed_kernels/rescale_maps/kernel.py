"""Triton kernels of ``rescale_maps``: the extent of each aggregated map, then the maps themselves.

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
def between(p_row, left, right, across, low):
    """Values of a row between two columns after ReLU, less ``low``: taken out first, so that small differences last."""
    a = tl.maximum(tl.load(p_row + left).to(tl.float32), 0.0) - low
    b = tl.maximum(tl.load(p_row + right).to(tl.float32), 0.0) - low
    return a + (b - a) * across


@triton.jit
def aggregated_pixels(p_raw, sizes, y, x, height, width, eps, LAYERS: tl.constexpr, BLOCK: tl.constexpr):
    """Pixels (y, x) of the mean over layers of ReLU, min-max, resize; and whether any value is stray."""
    pixels = tl.zeros([BLOCK], tl.float32)
    stray = 0
    for i in tl.static_range(LAYERS):
        rows = sizes[2 * i]
        columns = sizes[2 * i + 1]
        low, high, stray_here = layer_extent(p_raw, rows * columns, BLOCK)
        stray = stray | stray_here
        extent = high - low + eps
        top, bottom, down = source_of(y, rows, height)
        left, right, across = source_of(x, columns, width)
        upper = between(p_raw + top * columns, left, right, across, low)
        lower = between(p_raw + bottom * columns, left, right, across, low)
        pixels += (upper + (lower - upper) * down) / tl.where(extent > 0.0, extent, 1.0)
        p_raw += rows * columns
    return pixels / LAYERS, stray


@triton.jit
def aggregated_extent_kernel(
    raws_ptr, raws_stride_n,  # [n, all layers' positions]
    sizes,  # rows and columns of each layer
    lows_ptr, highs_ptr,  # [n, tiles]
    height, width, tiles, eps,
    LAYERS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (image, tile): the smallest and the largest aggregated pixel of a tile."""
    i_n = tl.program_id(0) // tiles
    place = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    m_place = place < height * width
    pixel = tl.where(m_place, place, 0)
    p_raw = raws_ptr + i_n.to(tl.int64) * raws_stride_n
    pixels, _ = aggregated_pixels(
        p_raw, sizes, pixel // width, pixel % width, height, width, eps, LAYERS, BLOCK
    )
    tl.store(lows_ptr + tl.program_id(0), tl.min(tl.where(m_place, pixels, float("inf")), axis=0))
    tl.store(highs_ptr + tl.program_id(0), tl.max(tl.where(m_place, pixels, float("-inf")), axis=0))


@triton.jit
def rescaled_maps_kernel(
    raws_ptr, raws_stride_n,  # [n, all layers' positions]
    sizes,  # rows and columns of each layer
    lows_ptr, highs_ptr,  # [n, tiles]
    maps_ptr,  # [n, height, width]
    empty_ptr, finite_ptr,  # [n], 1 or 0
    height, width, tiles, eps,
    rounding,  # part of the largest pixel below which an extent is nothing but rounding
    LAYERS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_TILES: tl.constexpr,
):  # fmt: skip
    """Program (image, tile): aggregated pixels, rescaled by their extent; tile 0 writes the flags."""
    i_n = tl.program_id(0) // tiles
    i_tile = tl.program_id(0) % tiles
    tile = tl.arange(0, BLOCK_TILES)
    p_extent = i_n.to(tl.int64) * tiles + tile
    low = tl.min(tl.load(lows_ptr + p_extent, mask=tile < tiles, other=float("inf")), axis=0)
    high = tl.max(tl.load(highs_ptr + p_extent, mask=tile < tiles, other=float("-inf")), axis=0)

    place = i_tile * BLOCK + tl.arange(0, BLOCK)
    m_place = place < height * width
    pixel = tl.where(m_place, place, 0)
    p_raw = raws_ptr + i_n.to(tl.int64) * raws_stride_n
    pixels, stray = aggregated_pixels(
        p_raw, sizes, pixel // width, pixel % width, height, width, eps, LAYERS, BLOCK
    )
    empty = high - low <= rounding * high
    extent = tl.where(empty, 1.0, high - low + eps)
    maps = tl.where(empty, 0.0, tl.minimum(tl.maximum(pixels - low, 0.0) / extent, 1.0))
    maps = tl.where(stray == 0, maps, float("nan"))
    tl.store(maps_ptr + i_n.to(tl.int64) * height * width + place, maps, mask=m_place)
    if i_tile == 0:
        tl.store(empty_ptr + i_n, (empty & (stray == 0)).to(tl.int8))
        tl.store(finite_ptr + i_n, (stray == 0).to(tl.int8))
