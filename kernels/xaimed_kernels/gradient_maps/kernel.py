"""Triton kernel of ``gradient_maps``: one reading of activations and gradients for a tuple of formulas.

A tile is [ROWS, BLOCK_C, LANES]: position = row * LANES + lane, all positions of BLOCK_C channels. With few
positions, LANES is small, so that a warp spans several channels and a total over positions takes few shuffles
(README).
"""

import triton
import triton.language as tl


@triton.jit
def total(x):
    """The sum over positions, the axes kept: [ROWS, BLOCK_C, LANES] -> [1, BLOCK_C, 1]."""
    return tl.sum(tl.sum(x, axis=0, keep_dims=True), axis=2, keep_dims=True)


@triton.jit
def gradient_maps_kernel(
    a_ptr, a_stride_n, a_stride_c, a_stride_s,  # [n, c, s]
    g_ptr, g_stride_n, g_stride_c, g_stride_s,  # [n, c, s]
    maps_ptr,  # [splits, m, n, s], contiguous
    weights_ptr,  # [per-channel formulas, n, c], contiguous
    images, channels, positions, splits,
    formulas: tl.constexpr,  # m Triton functions
    weight_rows: tl.constexpr,  # for each formula its row in weights, or -1
    ROWS: tl.constexpr, BLOCK_C: tl.constexpr, LANES: tl.constexpr,
    WIDE: tl.constexpr,  # whether offsets inside a tile pass 2^31
):  # fmt: skip
    """Program (image, split): the maps of one image over one part of its channels."""
    i_n = tl.program_id(0) // splits
    i_split = tl.program_id(0) % splits
    per_split = tl.cdiv(tl.cdiv(channels, BLOCK_C), splits) * BLOCK_C
    first = i_split * per_split
    last = tl.minimum(first + per_split, channels)

    s = tl.arange(0, ROWS)[:, None, None] * LANES + tl.arange(0, LANES)[None, None, :]
    c = tl.arange(0, BLOCK_C)[None, :, None]
    offset_s, offset_c = s, c
    if WIDE:
        offset_s, offset_c = s.to(tl.int64), c.to(tl.int64)
    p_a = a_ptr + i_n.to(tl.int64) * a_stride_n + (offset_c * a_stride_c + offset_s * a_stride_s)
    p_g = g_ptr + i_n.to(tl.int64) * g_stride_n + (offset_c * g_stride_c + offset_s * g_stride_s)

    maps = ()
    for _ in tl.static_range(len(formulas)):
        maps = maps + (tl.zeros([ROWS, BLOCK_C, LANES], tl.float32),)  # noqa: RUF005
    for c0 in tl.range(first, last, BLOCK_C):
        m_tile = (c0 + c < last) & (s < positions)
        skip = tl.cast(c0, tl.int64)
        a = tl.load(p_a + skip * a_stride_c, mask=m_tile, other=0.0).to(tl.float32)
        g = tl.load(p_g + skip * g_stride_c, mask=m_tile, other=0.0).to(tl.float32)
        grown = ()
        for i in tl.static_range(len(formulas)):
            w = formulas[i](a, g, total, positions)
            grown = grown + (maps[i] + tl.where(m_tile, w * a, 0.0),)  # noqa: RUF005
            if weight_rows[i] >= 0:
                channel = c0 + tl.arange(0, BLOCK_C)
                p_w = weights_ptr + (tl.cast(weight_rows[i], tl.int64) * images + i_n) * channels + channel
                per_channel = tl.reshape(w + tl.zeros([1, BLOCK_C, 1], tl.float32), [BLOCK_C])
                tl.store(p_w, per_channel, mask=channel < last)
        maps = grown

    place = tl.arange(0, ROWS)[:, None] * LANES + tl.arange(0, LANES)[None, :]
    for i in tl.static_range(len(formulas)):
        row = (i_split.to(tl.int64) * len(formulas) + i) * images + i_n
        tl.store(maps_ptr + row * positions + place, tl.sum(maps[i], axis=1), mask=place < positions)
