"""What has no one-line NumPy spelling: functions that go into a runner as they stand.

They need NumPy alone and Python 3.8, and may call each other.
"""

import math

import numpy as np


def logistic(x):
    """Return 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, np.ones_like(small), small) / (1 + small)


def each(function, x):
    """Return a function of the math module of every element of x."""
    x = np.asarray(x)
    values = [function(value) for value in x.ravel().tolist()]
    return np.array(values, x.dtype).reshape(x.shape)


def erf(x):
    """Return the error function."""
    return each(math.erf, x)


def erfc(x):
    """Return the complementary error function."""
    return each(math.erfc, x)


def lgamma(x):
    """Return the logarithm of the gamma function's magnitude."""
    return each(math.lgamma, x)


def round_away(x):
    """Return x rounded to integers, halves away from 0."""
    return np.trunc(x + np.copysign(np.asarray(0.5, x.dtype), x))


def divide_integers(x, y):
    """Return x / y rounded toward 0."""
    return ((x - np.fmod(x, y)) // y).astype(x.dtype)


def top_k(x, k):
    """Return the k largest of the last axis and where they are, ties in order."""
    order = np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    where = x.shape[-1] - 1 - order[..., :k]
    return np.take_along_axis(x, where, -1), where.astype(np.int32)


def sort_together(arrays, axis):
    """Return the arrays sorted by the first."""
    order = np.argsort(arrays[0], axis=axis, kind="stable")
    return [np.take_along_axis(array, order, axis) for array in arrays]


def dynamic_slice(x, starts, sizes):
    """Return sizes of x from starts, moved inside where they reach beyond."""
    where = []
    for start, size, length in zip(starts, sizes, x.shape):
        start = min(max(int(start), 0), length - size)
        where.append(slice(start, start + size))
    return x[tuple(where)]


def dynamic_update_slice(x, update, starts):
    """Return x with update in it from starts, moved inside likewise."""
    where = []
    for start, size, length in zip(starts, update.shape, x.shape):
        start = min(max(int(start), 0), length - size)
        where.append(slice(start, start + size))
    x = np.array(x)
    x[tuple(where)] = update
    return x


def pad(x, value, low, high, interior):
    """Return x with value around and between its elements; negative pads cut."""
    spread = [(n - 1) * (gap + 1) + 1 if n else 0 for n, gap in zip(x.shape, interior)]
    grown = [max(a, 0) + n + max(b, 0) for a, n, b in zip(low, spread, high)]
    out = np.full(grown, value, x.dtype)
    inside = zip(low, spread, interior)
    out[tuple(slice(max(a, 0), max(a, 0) + n, g + 1) for a, n, g in inside)] = x
    cuts = zip(low, grown, high)
    return out[tuple(slice(max(-a, 0), n - max(-b, 0)) for a, n, b in cuts)]


def window_indices(shape, indices, sizes, axes, batch_axes, index_batch_axes, clip):
    """Return the indices of windows into an array, and which windows lie inside.

    Args:
        shape: of the array.
        indices: (..., k), where windows start along the k axes.
        sizes: of a window along every axis of the array.
        axes: of the array, those that the k starts are of.
        batch_axes: of the array, those that go along with axes of the indices.
        index_batch_axes: these.
        clip: whether windows that reach beyond are moved inside.
    """
    batch, rank = indices.ndim - 1, len(shape)
    found, inside = [], np.ones(indices.shape[:-1] + (1,) * rank, bool)
    for axis, (length, size) in enumerate(zip(shape, sizes)):
        start = np.zeros((1,) * batch, np.int64)
        if axis in axes:
            start = indices[..., axes.index(axis)].astype(np.int64)
        elif axis in batch_axes:
            along = index_batch_axes[batch_axes.index(axis)]
            ones = [-1 if other == along else 1 for other in range(batch)]
            start = np.arange(length).reshape(ones)
        if clip:
            start = np.clip(start, 0, length - size)
        start = start.reshape(start.shape + (1,) * rank)
        inside = inside & (start >= 0) & (start <= length - size)
        ones = [-1 if other == axis else 1 for other in range(rank)]
        found.append(start + np.arange(size).reshape(ones))
    return found, inside


def gather(
    x, indices, offsets, collapsed, axes, batch_axes, index_batch_axes, sizes, mode
):
    """Return windows of x, the axes of each at offsets of the result.

    Args:
        x: to take from.
        indices: (..., k), where windows start along the k axes.
        offsets: axes of the result that are axes of a window.
        collapsed: axes of a window that are left out, as they are of length 1.
        axes: of x, those that the k starts are of.
        batch_axes: of x, those that go along with axes of the indices.
        index_batch_axes: these.
        sizes: of a window.
        mode: "clip" windows inside, or what "fill"s those that reach beyond.
    """
    found, inside = window_indices(
        x.shape, indices, sizes, axes, batch_axes, index_batch_axes, mode == "clip"
    )
    last = [np.clip(index, 0, n - 1) for index, n in zip(found, x.shape)]
    out = x[tuple(last)]
    if mode != "clip":
        out = np.where(inside, out, np.asarray(mode, x.dtype))
    batch, gone = indices.ndim - 1, tuple(collapsed) + tuple(batch_axes)
    kept = [axis for axis in range(x.ndim) if axis not in gone]
    out = out.reshape(out.shape[:batch] + tuple(sizes[axis] for axis in kept))
    return np.moveaxis(out, range(batch, out.ndim), offsets)


def scatter(
    x,
    indices,
    updates,
    windows,
    inserted,
    axes,
    batch_axes,
    index_batch_axes,
    clip,
    combine,
):
    """Return x with windows of it replaced by, or combined with, updates.

    Args:
        x: to write into a copy of.
        indices: (..., k), where windows start along the k axes.
        updates: their axes `windows` are axes of a window.
        windows: see `updates`.
        inserted: axes of a window that updates lack.
        axes: of x, those that the k starts are of.
        batch_axes: of x, those that go along with axes of the indices.
        index_batch_axes: these.
        clip: whether windows that reach beyond are moved inside, not dropped.
        combine: a ufunc such as np.add, None to replace.
    """
    gone = tuple(inserted) + tuple(batch_axes)
    kept = [axis for axis in range(x.ndim) if axis not in gone]
    sizes = [1] * x.ndim
    for axis, window in zip(kept, windows):
        sizes[axis] = updates.shape[window]
    found, inside = window_indices(
        x.shape, indices, sizes, axes, batch_axes, index_batch_axes, clip
    )
    batch = indices.ndim - 1
    updates = np.moveaxis(updates, windows, range(batch, updates.ndim))
    updates = updates.reshape(indices.shape[:-1] + tuple(sizes))
    *found, inside = np.broadcast_arrays(*found, inside)
    where = tuple(index[inside] for index in found)
    x = np.array(x)
    if combine is None:
        x[where] = updates[inside]
    else:
        combine.at(x, where, updates[inside])
    return x


def lu(x):
    """Return the LU decomposition with partial pivoting: both, pivots, permutation."""
    x = np.array(x)
    if x.ndim > 2:
        parts = [lu(part) for part in x.reshape((-1,) + x.shape[-2:])]
        return [np.stack(p).reshape(x.shape[:-2] + p[0].shape) for p in zip(*parts)]
    rows, columns = x.shape
    pivots = np.arange(min(rows, columns), dtype=np.int32)
    order = np.arange(rows, dtype=np.int32)
    for k in range(len(pivots)):
        pivots[k] = best = k + int(np.argmax(np.abs(x[k:, k])))
        x[[k, best]], order[[k, best]] = x[[best, k]], order[[best, k]]
        if x[k, k] != 0:
            x[k + 1 :, k] /= x[k, k]
        x[k + 1 :, k + 1 :] -= np.outer(x[k + 1 :, k], x[k, k + 1 :])
    return x, pivots, order


def permutation(pivots, size):
    """Return the permutation of size rows that pivots, swapped in turn, make."""
    order = np.broadcast_to(
        np.arange(size, dtype=np.int32), pivots.shape[:-1] + (size,)
    )
    order = np.array(order)
    for k in range(pivots.shape[-1]):
        other = pivots[..., k : k + 1]
        swapped = np.take_along_axis(order, other, -1)
        np.put_along_axis(order, other, order[..., k : k + 1].copy(), -1)
        order[..., k : k + 1] = swapped
    return order


def triangular_solve(a, b, left, lower, transposed, unit):
    """Return x of a x = b, or of x a = b, a triangular and perhaps transposed."""
    a = np.tril(a) if lower else np.triu(a)
    if unit:
        eye = np.eye(a.shape[-1], dtype=a.dtype)
        a = a * (1 - eye) + eye
    a = np.swapaxes(a, -1, -2) if transposed else a
    if left:
        return np.linalg.solve(a, b)
    x = np.linalg.solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2))
    return np.swapaxes(x, -1, -2)
