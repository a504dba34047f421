"""Triton kernel of ``gradient_maps``: one reading of activations and gradients for a tuple of formulas.

A tile holds all positions of BLOCK_C channels: position = row * LANES + lane. Triton's tensors have as many rows as a
power of two, so that a tile comes in pieces, [rows of the piece, BLOCK_C, LANES] each (README).
"""

import triton
import triton.language as tl


@triton.jit
def total(x):
    """The sum over the positions of all pieces, axes kept: [rows, BLOCK_C, LANES] each -> [1, BLOCK_C, 1]."""
    lanes = tl.sum(x[0], axis=0, keep_dims=True)
    for k in tl.static_range(1, len(x)):
        lanes += tl.sum(x[k], axis=0, keep_dims=True)
    return tl.sum(lanes, axis=2, keep_dims=True)


@triton.jit
def relu(x):
    """What ``x.relu()`` of a formula becomes: one instruction, and a NaN stays one, as in torch."""
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def load(pointers, mask, MASKED: tl.constexpr):
    """Values as float32, 0 where they are masked."""
    values = tl.load(pointers, mask=mask, other=0.0) if MASKED else tl.load(pointers)
    return values.to(tl.float32)


@triton.jit
def keep(p_weights, weights, first, last, BLOCK_C: tl.constexpr):
    """The weights of channels from ``first`` on, of those before ``last``, go to their row."""
    channel = first + tl.arange(0, BLOCK_C)
    per_channel = tl.reshape(weights + tl.zeros([1, BLOCK_C, 1], tl.float32), [BLOCK_C])
    tl.store(p_weights + channel, per_channel, mask=channel < last)


@triton.jit
def added(
    maps, weights, a, there,
    FORMULAS: tl.constexpr, PIECES: tl.constexpr, FOLD: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """The maps of all pieces and formulas, with these channels weighed and added. ``there``: which of them exist."""
    grown = ()
    for k in tl.static_range(len(PIECES)):
        for i in tl.static_range(FORMULAS):
            weighed = weights[i][k] * a[k]
            if not EVEN:
                weighed = tl.where(there, weighed, 0.0)
            if FOLD > 1:
                neighbours = tl.reshape(
                    weighed, [PIECES[k][1], weighed.shape[1] // FOLD, FOLD, weighed.shape[2]]
                )
                weighed = tl.sum(neighbours, axis=2)
            grown = grown + (maps[FORMULAS * k + i] + weighed,)  # noqa: RUF005
    return grown


@triton.jit
def store(
    maps_ptr, maps, row, rows, positions,
    FORMULAS: tl.constexpr, PIECES: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Each formula's map goes to its row: ``row`` is the first formula's, ``rows`` lie between two formulas'."""
    for k in tl.static_range(len(PIECES)):
        place = (PIECES[k][0] + tl.arange(0, PIECES[k][1]))[:, None] * LANES + tl.arange(0, LANES)[None, :]
        for i in tl.static_range(FORMULAS):
            p_map = maps_ptr + (row + i * rows) * positions + place
            tl.store(p_map, tl.sum(maps[FORMULAS * k + i], axis=1), mask=place < positions)


@triton.jit(do_not_specialize=["a_stride_n", "g_stride_n", "splits"])
def gradient_maps_kernel(
    a_ptr, a_stride_n, a_stride_c, a_stride_s,  # [n, c, s]
    g_ptr, g_stride_n, g_stride_c, g_stride_s,  # [n, c, s]
    maps_ptr,  # [splits, m, n, s], contiguous
    weights_ptr,  # [per-channel formulas, n, c], contiguous
    images, channels, positions, splits,
    formulas: tl.constexpr,  # m Triton functions
    weight_rows: tl.constexpr,  # for each formula its row in weights, or -1
    PIECES: tl.constexpr,  # of each piece its first row, its rows, and whether positions end inside
    BLOCK_C: tl.constexpr, LANES: tl.constexpr,
    UNIT_C: tl.constexpr,  # divides positions, the strides of n and of c
    UNIT_S: tl.constexpr,  # divides the strides of n and of s
    FOLD: tl.constexpr,  # adjacent channels that are added up before they go to the maps
    EVEN: tl.constexpr,  # whether BLOCK_C divides channels
    WIDE: tl.constexpr,  # whether offsets inside a tile pass 2^31
):  # fmt: skip
    """Program (image, split): the maps of one image over one part of its channels."""
    i_n, i_split = tl.program_id(0) // splits, tl.program_id(0) % splits
    per_split = tl.cdiv(tl.cdiv(channels, BLOCK_C), splits) * BLOCK_C
    first = i_split * per_split
    last = tl.minimum(first + per_split, channels)

    # stride // unit * unit is the stride, and shows the compiler what divides it
    UNIT: tl.constexpr = UNIT_C * UNIT_S
    p_n_a = a_ptr + i_n.to(tl.int64) * (a_stride_n // UNIT * UNIT)
    p_n_g = g_ptr + i_n.to(tl.int64) * (g_stride_n // UNIT * UNIT)
    a_stride_c, g_stride_c = a_stride_c // UNIT_C * UNIT_C, g_stride_c // UNIT_C * UNIT_C
    a_stride_s, g_stride_s = a_stride_s // UNIT_S * UNIT_S, g_stride_s // UNIT_S * UNIT_S
    positions = positions // UNIT_C * UNIT_C
    c, lane = tl.arange(0, BLOCK_C)[None, :, None], tl.arange(0, LANES)[None, None, :]
    places, p_a, p_g, maps = (), (), (), ()
    for k in tl.static_range(len(PIECES)):
        s = (PIECES[k][0] + tl.arange(0, PIECES[k][1]))[:, None, None] * LANES + lane
        places = places + (s,)  # noqa: RUF005
        offset_c, offset_s = c, s
        if WIDE:
            offset_c, offset_s = c.to(tl.int64), s.to(tl.int64)
        p_a = p_a + (p_n_a + (offset_c * a_stride_c + offset_s * a_stride_s),)  # noqa: RUF005
        p_g = p_g + (p_n_g + (offset_c * g_stride_c + offset_s * g_stride_s),)  # noqa: RUF005
        for _ in tl.static_range(len(formulas)):
            maps = maps + (tl.full([PIECES[k][1], BLOCK_C // FOLD, LANES], 0.0, tl.float32),)  # noqa: RUF005

    for c0 in tl.range(first, last, BLOCK_C):
        skip = tl.cast(c0, tl.int64)
        a, g = (), ()
        for k in tl.static_range(len(PIECES)):
            mask = places[k] < positions
            if not EVEN:
                mask = mask & (c0 + c < last)
            a = a + (load(p_a[k] + skip * a_stride_c, mask, PIECES[k][2] or not EVEN),)  # noqa: RUF005
            g = g + (load(p_g[k] + skip * g_stride_c, mask, PIECES[k][2] or not EVEN),)  # noqa: RUF005
        weights = ()
        for i in tl.static_range(len(formulas)):
            w = formulas[i](a, g, total, positions)
            weights = weights + (w,)  # noqa: RUF005
            if weight_rows[i] >= 0:
                row = tl.cast(weight_rows[i], tl.int64) * images + i_n
                keep(weights_ptr + row * channels, w[0], c0, last, BLOCK_C)
        maps = added(maps, weights, a, c0 + c < last, len(formulas), PIECES, FOLD, EVEN)

    row = i_split.to(tl.int64) * len(formulas) * images + i_n
    store(maps_ptr, maps, row, images, positions, len(formulas), PIECES, LANES)
