"""Triton kernel of ``weighted_map``."""

import triton
import triton.language as tl


@triton.jit
def weighted_map_kernel(
    a_ptr, a_stride_n, a_stride_c, a_stride_s,  # [n, c, s]
    w_ptr, w_stride_n, w_stride_c, w_stride_s,  # [n, c, s], w_stride_s = 0 for weights n c
    maps_ptr,  # [splits, n, s], contiguous
    images, channels, positions, splits,
    BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,
    WIDE: tl.constexpr,  # whether offsets inside a tile pass 2^31
):  # fmt: skip
    """Program (image, split, tile of positions): its part of the sum over channels."""
    tiles = tl.cdiv(positions, BLOCK_S)
    i_tile = tl.program_id(0) % tiles
    i_split = tl.program_id(0) // tiles % splits
    i_n = tl.program_id(0) // tiles // splits
    per_split = tl.cdiv(tl.cdiv(channels, BLOCK_C), splits) * BLOCK_C
    first = i_split * per_split
    last = tl.minimum(first + per_split, channels)

    s = tl.arange(0, BLOCK_S)[None, :]
    c = tl.arange(0, BLOCK_C)[:, None]
    offset_s, offset_c = s, c
    if WIDE:
        offset_s, offset_c = s.to(tl.int64), c.to(tl.int64)
    m_s = i_tile * BLOCK_S + s < positions
    skip_n, skip_s = i_n.to(tl.int64), (i_tile * BLOCK_S).to(tl.int64)
    p_a = a_ptr + skip_n * a_stride_n + skip_s * a_stride_s + (offset_c * a_stride_c + offset_s * a_stride_s)
    p_w = w_ptr + skip_n * w_stride_n + skip_s * w_stride_s + (offset_c * w_stride_c + offset_s * w_stride_s)

    b_map = tl.zeros([BLOCK_C, BLOCK_S], tl.float32)
    for c0 in tl.range(first, last, BLOCK_C):
        m_tile = (c0 + c < last) & m_s
        skip_c = tl.cast(c0, tl.int64)
        a = tl.load(p_a + skip_c * a_stride_c, mask=m_tile, other=0.0).to(tl.float32)
        w = tl.load(p_w + skip_c * w_stride_c, mask=m_tile, other=0.0).to(tl.float32)
        b_map += w * a

    place = i_tile * BLOCK_S + tl.arange(0, BLOCK_S)
    row = i_split.to(tl.int64) * images + i_n
    tl.store(maps_ptr + row * positions + place, tl.sum(b_map, axis=0), mask=place < positions)
