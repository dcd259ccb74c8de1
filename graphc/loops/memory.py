"""Where tensors lie: buffers with their strides, and which element lies where in each layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from graphc.ir.index import Index, Variable, weighted
from graphc.ir.layouts import (
    BATCH_LAST,
    BATCH_PADDING,
    BLOCK,
    CHANNELS_LAST,
    PAIR,
    blocked_axes,
    features,
)
from graphc.ir.types import Batch, Dim, DType, N, TensorType

PADDED = Variable("P")


T = TypeVar("T")


@dataclass(frozen=True)
class Stride:
    """Elements from one index to the next: fixed + padded * P."""

    fixed: int
    padded: int = 0


@dataclass(frozen=True)
class Buffer:
    """Memory that holds a tensor: its axes as they are stored (`stored`), and their strides.
    Local buffers are arrays of a kernel's own. If one is allocated around thread loops, its first
    axis is the thread, and each has its own part in registers; unless it is `shared`: then all
    threads of a block see all of it. swizzled: its innermost axis is a line of 128 bytes, and in
    each eight lines pieces of 16 bytes have traded places; indices speak of it as if they had not.
    pixels: which stored axis counts those of features.
    """

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    strides: tuple[Stride, ...]
    local: bool = False
    batch_last: bool = False
    pixels: int | None = None
    shared: bool = False
    swizzled: bool = False

    def offset(self, indices: tuple[Index, ...]) -> tuple[Index, Index]:
        """(fixed, padded): the element at `indices` is fixed + padded * P elements from the
        start.
        """
        fixed = weighted(indices, [s.fixed for s in self.strides])
        return fixed, weighted(indices, [s.padded for s in self.strides])


def buffer_of(name: str, type: TensorType) -> Buffer:
    """The buffer of a tensor: row-major in its stored axes, with the batch moved to the outermost
    or the innermost place.
    """
    axis, last = type.batch_axis, type.layout == BATCH_LAST
    cut = blocked_axes(type.layout)
    shape = [d // BLOCK if a in cut else d for a, d in enumerate(type.shape)]  # type: ignore[operator]
    if type.layout == CHANNELS_LAST:
        shape = list(_channels_last(shape))
    shape += [BLOCK // PAIR, BLOCK, PAIR] if _lies_in_pairs(type) else [BLOCK] * len(cut)
    found = features(type.layout)
    if found is not None:
        at, pixels = found
        shape[at : at + 1] = [shape[at] // (pixels * BLOCK), pixels, BLOCK]  # type: ignore[operator]
        axis = shape.index(N) if N in shape else None
    strides = [Stride(0)] * len(shape)
    step = 1
    for a in reversed(range(len(shape))):
        dim = shape[a]
        if isinstance(dim, Batch):
            continue
        strides[a] = Stride(0, step) if axis is not None and last else Stride(step)
        step *= dim
    if axis is not None:
        strides[axis] = Stride(1) if last else Stride(step)
    place = None if found is None else found[0] + 1
    return Buffer(name, type.dtype, tuple(shape), tuple(strides), batch_last=last, pixels=place)


def stored(type: TensorType, at: tuple[Index, ...]) -> tuple[Index, ...]:
    """Where the element at `at` lies in the buffer of a tensor: axes in blocks have two indices.

    [n, c, y, x] in `blocked_1`        ->  [n, c // 16, y, x, c % 16]
    [n, c, y, x] in `channels_last`    ->  [n, y, x, c]
    [k, c] in `blocked_1_0`, of bf16   ->  [k // 16, c // 16, c % 16 // 2, k % 16, c % 2]
    [n, f] in `features_1_36`          ->  [n, f // 576, f % 36, f // 36 % 16]
    """
    found = features(type.layout)
    if found is not None:
        axis, pixels = found
        f = at[axis]
        split = (f // (pixels * BLOCK), f % pixels, f // pixels % BLOCK)
        return (*at[:axis], *split, *at[axis + 1 :])
    cut = blocked_axes(type.layout)
    if type.layout == CHANNELS_LAST:
        return _channels_last(at)
    if not cut:
        return at
    blocks = [i // BLOCK if a in cut else i for a, i in enumerate(at)]
    if _lies_in_pairs(type):
        paired, other = (at[a] % BLOCK for a in cut)
        return (*blocks, paired // PAIR, other, paired % PAIR)
    return (*blocks, *(at[a] % BLOCK for a in cut))


def _channels_last(at: Sequence[T]) -> tuple[T, ...]:
    """What belongs to each axis, in the order of `channels_last`."""
    return (at[0], *at[2:], at[1])


def _lies_in_pairs(type: TensorType) -> bool:
    """Whether neighbours along the first axis in blocks lie side by side, though it is not the
    innermost: so that one vector holds pairs of them.
    """
    return type.dtype is DType.bf16 and len(blocked_axes(type.layout)) == 2


def buffer_bytes(type: TensorType, n: int) -> int:
    """Bytes that `buffer_of(type)` takes for batch size n, padding included."""
    if type.layout == BATCH_LAST:
        n = padded_batch(n)
    return type.bytes(n)


def padded_batch(n: int) -> int:
    """n rounded up to `BATCH_PADDING`."""
    return -(-n // BATCH_PADDING) * BATCH_PADDING
