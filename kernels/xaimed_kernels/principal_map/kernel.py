"""Triton kernels of ``principal_map``: Gram matrix, its top eigenvector, projection."""

import triton
import triton.language as tl


@triton.jit
def centred_tile(p_a, p_w, p_mean, p_factor, mask):
    """The tile of (w * a - mean) * factor, 0 outside the mask and where the factor is 0."""
    a = tl.load(p_a, mask=mask, other=0.0).to(tl.float32)
    w = tl.load(p_w, mask=mask, other=0.0).to(tl.float32)
    factor = tl.load(p_factor, mask=mask, other=0.0)
    return tl.where(mask, (w * a - tl.load(p_mean, mask=mask, other=0.0)) * factor, 0.0)


@triton.jit
def gram_kernel(
    a_ptr, a_stride_n, a_stride_d, a_stride_k,  # [n, d, k]: d positions, k channels, or the other way round
    w_ptr, w_stride_n, w_stride_d, w_stride_k,  # [n, d, k]
    mean_ptr, factor_ptr,  # [n, d, k], one of the last two strides is 0
    mean_stride_n, mean_stride_d, mean_stride_k,  # of both
    grams_ptr,  # [splits, n, stride, stride], contiguous; 0 beyond d
    images, side, inner, splits, stride,
    BLOCK_D: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Program (image, split, block pair): the sum over a part of k of x_dk x_ek, for d in one block, e in another.

    Blocks above the diagonal are left out; each program writes its block and the mirrored one.
    """
    blocks = tl.cdiv(side, BLOCK_D)
    i_d = tl.program_id(0) % blocks
    i_e = tl.program_id(0) // blocks % blocks
    if i_e <= i_d:
        i_split = tl.program_id(0) // (blocks * blocks) % splits
        i_n = (tl.program_id(0) // (blocks * blocks) // splits).to(tl.int64)
        per_split = tl.cdiv(tl.cdiv(inner, BLOCK_K), splits) * BLOCK_K
        first = i_split * per_split
        last = tl.minimum(first + per_split, inner)
        d = i_d * BLOCK_D + tl.arange(0, BLOCK_D)
        e = i_e * BLOCK_D + tl.arange(0, BLOCK_D)
        wide_d, wide_e = d.to(tl.int64)[:, None], e.to(tl.int64)[None, :]
        p_a, p_w = a_ptr + i_n * a_stride_n, w_ptr + i_n * w_stride_n
        p_mean, p_factor = mean_ptr + i_n * mean_stride_n, factor_ptr + i_n * mean_stride_n

        b_gram = tl.zeros([BLOCK_D, BLOCK_D], tl.float32)
        for k0 in tl.range(first, last, BLOCK_K):
            k = (k0 + tl.arange(0, BLOCK_K)).to(tl.int64)
            row, column = k[None, :], k[:, None]
            x = centred_tile(
                p_a + wide_d * a_stride_d + row * a_stride_k, p_w + wide_d * w_stride_d + row * w_stride_k,
                p_mean + wide_d * mean_stride_d + row * mean_stride_k,
                p_factor + wide_d * mean_stride_d + row * mean_stride_k, (d < side)[:, None] & (row < last),
            )  # fmt: skip
            y = centred_tile(
                p_a + wide_e * a_stride_d + column * a_stride_k, p_w + wide_e * w_stride_d + column * w_stride_k,
                p_mean + wide_e * mean_stride_d + column * mean_stride_k,
                p_factor + wide_e * mean_stride_d + column * mean_stride_k, (e < side)[None, :] & (column < last),
            )  # fmt: skip
            b_gram = tl.dot(x, y, b_gram, input_precision="ieee")

        p_gram = grams_ptr + (i_split.to(tl.int64) * images + i_n) * stride * stride
        m_block = (d < stride)[:, None] & (e < stride)[None, :]
        tl.store(p_gram + wide_d * stride + wide_e, b_gram, mask=m_block)
        tl.store(p_gram + wide_e * stride + wide_d, b_gram, mask=m_block)


@triton.jit
def product(p_gram, p_vector, vector, gram, stride, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr):
    """The symmetric matrix times a vector: held as a whole where BLOCK_R is its side, else read in rows.

    Read in rows, the vector is left at ``p_vector``, for all warps to see.
    """
    if BLOCK_R == BLOCK_D:
        image = tl.sum(gram * vector[:, None], axis=0)
    else:
        d = tl.arange(0, BLOCK_D)
        tl.store(p_vector + d, vector)
        tl.debug_barrier()
        sums = tl.zeros([BLOCK_R, BLOCK_D], tl.float32)
        for r0 in tl.range(0, stride, BLOCK_R):
            r = r0 + tl.arange(0, BLOCK_R)
            entries = tl.load(
                p_gram + r[:, None] * stride + d[None, :], mask=(d < stride)[None, :], other=0.0
            )
            sums += entries * tl.load(p_vector + r)[:, None]
        image = tl.sum(sums, axis=0)
    return image


@triton.jit
def over_rows(weights, rows, always):
    """The sum of weighted rows. ``always`` is true, which the compiler cannot know: else it might fuse a lane's product
    with the sum of another's, rounded once, so that lanes that hold the same sum would differ in its last digit."""
    return tl.sum(tl.where(always[:, None], weights[:, None] * rows, 0.0), axis=0)


@triton.jit
def top_mixture(tridiagonal, always, STEPS: tl.constexpr, SQUARINGS: tl.constexpr):
    """Unit eigenvector [STEPS] of the largest eigenvalue of a small matrix: squared until one column is left."""
    k = tl.arange(0, STEPS)
    diagonal = k[:, None] == k[None, :]
    powers = tridiagonal
    for _ in tl.range(
        SQUARINGS // 4
    ):  # the largest is at least 1/16 of the trace: its 16th power is no underflow
        trace = tl.sum(tl.sum(tl.where(diagonal, powers, 0.0), axis=1), axis=0)
        powers = powers / tl.where(trace > 0.0, trace, 1.0)
        for _ in tl.static_range(4):
            powers = tl.dot(powers, powers, input_precision="ieee")
    weight = tl.sum(tl.where(diagonal, powers, 0.0), axis=1)
    largest = tl.argmax(
        tl.where(weight == weight, weight, 0.0), axis=0
    )  # an order needs numbers; NaN comes below
    column = tl.sum(tl.where(k[None, :] == largest, powers, 0.0), axis=1)
    norm = tl.sqrt(tl.sum(tl.where(always, column * column, 0.0), axis=0))  # see `over_rows`
    return column / tl.where(norm > 0.0, norm, 1.0)


@triton.jit
def mixed(mixture, seen, p_mixture, always, HELD: tl.constexpr):
    """The basis vectors ``seen`` in this ``mixture``, as one vector of length 1."""
    if not HELD:  # through memory: the layout of its sums would ask for all of `seen` in that layout, spilled
        tl.store(p_mixture, mixture)
        tl.debug_barrier()
        mixture = tl.load(p_mixture)
    best = over_rows(mixture, seen, always)
    norm = tl.sqrt(tl.sum(best * best, axis=0))
    return best / tl.where(norm > 0.0, norm, 1.0)


@triton.jit
def top_eigenvector_kernel(
    grams_ptr,  # [n, stride, stride], contiguous; 0 beyond d
    vectors_ptr,  # [n, BLOCK_D]
    values_ptr,  # [n]
    basis_ptr,  # [n, STEPS + 1, BLOCK_D], scratch for what registers do not hold
    side, stride, cycles, tolerance,
    STEPS: tl.constexpr, SQUARINGS: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """Program (image): Lanczos steps with full orthogonalisation, restarted until the residual is small.

    Matrix and basis are held in registers where BLOCK_R is BLOCK_D.
    """
    HELD: tl.constexpr = BLOCK_R == BLOCK_D
    i_n = tl.program_id(0).to(tl.int64)
    p_gram, p_vector = grams_ptr + i_n * stride * stride, vectors_ptr + i_n * BLOCK_D
    d, k = tl.arange(0, BLOCK_D), tl.arange(0, STEPS)
    row, column, always = k[:, None], k[None, :], k < side + STEPS
    p_basis = basis_ptr + i_n * (STEPS + 1) * BLOCK_D
    p_rows = p_basis + row * BLOCK_D + d[None, :]
    gram = tl.zeros([1, 1], tl.float32)
    if HELD:
        m_gram = (d < stride)[:, None] & (d < stride)[None, :]
        gram = tl.load(p_gram + d[:, None] * stride + d[None, :], mask=m_gram, other=0.0)
    golden = (d + 1).to(tl.float32) * 0.6180339887
    best = tl.where(d < side, golden - tl.floor(golden) - 0.5, 0.0)  # no data's structure is orthogonal to it
    value, residual, cycle = 0.0, 1.0, 0
    while (cycle < cycles) & (residual > tolerance):
        tridiagonal = tl.zeros([STEPS, STEPS], tl.float32)
        if HELD:
            basis = tl.zeros([STEPS, BLOCK_D], tl.float32)
        vector = best
        for step in tl.range(STEPS):
            before = tl.sqrt(tl.sum(vector * vector, axis=0))
            seen = basis if HELD else tl.load(p_rows, mask=row < step, other=0.0)
            for _ in tl.static_range(2):  # once leaves what rounding left of it
                vector -= over_rows(tl.sum(seen * vector[None, :], axis=1), seen, always)
            norm = tl.sqrt(tl.sum(vector * vector, axis=0))
            alive = norm > 1e-7 * before  # else the steps have spanned all there is, and the rest is rounding
            vector = tl.where(alive, vector / tl.where(alive, norm, 1.0), 0.0)
            if HELD:
                basis = tl.where(row == step, vector[None, :], basis)
            image = product(p_gram, p_basis + step * BLOCK_D, vector, gram, stride, BLOCK_D, BLOCK_R)
            beside = ((row == step) & (column == step - 1)) | ((row == step - 1) & (column == step))
            tridiagonal += tl.where(beside, tl.where(alive, norm, 0.0), 0.0)
            tridiagonal += tl.where((row == step) & (column == step), tl.sum(vector * image, axis=0), 0.0)
            vector = image
        seen = basis if HELD else tl.load(p_rows)
        mixture = top_mixture(tridiagonal, always, STEPS, SQUARINGS)
        best = mixed(mixture, seen, p_basis + STEPS * BLOCK_D + k, always, HELD)
        image = product(p_gram, p_vector, best, gram, stride, BLOCK_D, BLOCK_R)
        value = tl.sum(best * image, axis=0)
        off = image - value * best
        residual = tl.sqrt(tl.sum(off * off, axis=0)) / tl.where(value > 0.0, value, 1.0)
        cycle += 1
    tl.store(p_vector + d, best)
    tl.store(values_ptr + i_n, value)


@triton.jit
def projection_kernel(
    a_ptr, a_stride_n, a_stride_c, a_stride_s,  # [n, c, s]
    w_ptr, w_stride_n, w_stride_c, w_stride_s,  # [n, c, s]
    mean_ptr,  # [n, c], contiguous
    vectors_ptr,  # [n, c], contiguous: 0 for channels of no variation
    maps_ptr,  # [n, s], contiguous
    channels, positions,
    BLOCK_C: tl.constexpr, BLOCK_S: tl.constexpr,
):  # fmt: skip
    """Program (image, tile of positions): the sum over channels of (w * a - mean) * v."""
    tiles = tl.cdiv(positions, BLOCK_S)
    i_n = (tl.program_id(0) // tiles).to(tl.int64)
    s = tl.program_id(0) % tiles * BLOCK_S + tl.arange(0, BLOCK_S)
    wide_s = s.to(tl.int64)[None, :]
    b_map = tl.zeros([BLOCK_C, BLOCK_S], tl.float32)
    for c0 in tl.range(0, channels, BLOCK_C):
        c = (c0 + tl.arange(0, BLOCK_C)).to(tl.int64)
        b_map += centred_tile(
            a_ptr + i_n * a_stride_n + c[:, None] * a_stride_c + wide_s * a_stride_s,
            w_ptr + i_n * w_stride_n + c[:, None] * w_stride_c + wide_s * w_stride_s,
            mean_ptr + i_n * channels + c[:, None] + 0 * wide_s,
            vectors_ptr + i_n * channels + c[:, None] + 0 * wide_s,
            (c < channels)[:, None] & (wide_s < positions),
        )
    tl.store(maps_ptr + i_n * positions + s, tl.sum(b_map, axis=0), mask=s < positions)
