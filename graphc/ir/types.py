"""Tensor types and all shape arithmetic.

Semantics that every backend keeps:

* f32 and f64 follow IEEE 754: no fast-math, nan propagates through every arithmetic op, maximum and
  minimum included; x / 0 is inf or nan. Integers wrap; integer division by zero never occurs (no op
  divides integers).
* A reduction is a sum in an order that depends on shapes alone, never on the number of threads.
* A multiplication feeding a sum in a contraction is fused (one rounding); elementwise code is not
  contracted.
* u8 is an integer without a sign, 0 to 255; it wraps at 256.
* bf16 is a way to store numbers: `cast` rounds to it (to the nearest, halves to even) and widens
  it, views move it, contractions multiply it and add up in f32. Nothing else takes it.
* Comparisons with nan are false, `not_equal` is true.

Shapes hold ints and at most one symbolic batch dimension, `N`. Layouts are described in
`layouts.py`.
"""

from __future__ import annotations

import builtins
import enum
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.layouts import ROW_MAJOR, fits, is_layout

LARGEST_EXTENT = 2**31 - 1
LARGEST_COUNT = 2**40


class DType(enum.Enum):
    """Element type: its name in text, and numpy's equivalent.

    numpy has no bf16: there these numbers are f32 that have been rounded (`rounded_to_bf16`).
    """

    f32 = "float32"
    f64 = "float64"
    i32 = "int32"
    i64 = "int64"
    u8 = "uint8"
    bool = "bool"
    bf16 = "bfloat16"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy dtype of the same meaning."""
        return np.dtype("float32" if self is DType.bf16 else self.value)

    @property
    def memory(self) -> np.dtype[np.generic]:
        """The numpy dtype of elements as they lie in memory: for bf16, of their bits."""
        return np.dtype("uint16") if self is DType.bf16 else self.numpy

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return int(self.memory.itemsize)

    @property
    def is_float(self) -> builtins.bool:
        """Whether this is f32 or f64."""
        return self in (DType.f32, DType.f64)

    @property
    def is_integer(self) -> builtins.bool:
        """Whether this is i32, i64 or u8."""
        return self in (DType.i32, DType.i64, DType.u8)

    def __str__(self) -> str:
        return self.name


def rounded_to_bf16(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """x as f32 of which only the upper 16 bits are in use: the nearest such, halves to even."""
    single = np.asarray(x, np.float32)
    bits = single.view(np.uint32)
    up = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded = (up & np.uint32(0xFFFF0000)).view(np.float32)
    return np.where(np.isnan(single), single, rounded)


class Batch:
    """The symbolic batch dimension. There is one instance, `N`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "N"

    def __reduce__(self) -> str:
        return "N"

    def __copy__(self) -> Batch:
        return self

    def __deepcopy__(self, memo: object) -> Batch:
        return self


N = Batch()
Dim = int | Batch
Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """dtype, logical shape and physical layout of a tensor; printed ``f32[N,3,32,32]``."""

    dtype: DType
    shape: Shape
    layout: str = ROW_MAJOR

    def __post_init__(self) -> None:
        if self.layout != ROW_MAJOR and not is_layout(self.layout):
            raise GraphcError(
                f"there is no layout {self.layout!r}",
                remedy="layouts: batch_first, batch_last, channels_last, blocked_1_0 and the like",
            )
        if sum(d is N for d in self.shape) > 1:
            raise GraphcError(
                f"shape {shape_text(self.shape)} holds the batch dimension N twice",
                remedy="keep at most one N in a shape",
            )
        count = 1
        for dim in self.shape:
            if dim is N:
                continue
            if not isinstance(dim, int) or isinstance(dim, bool) or not 0 <= dim <= LARGEST_EXTENT:
                raise GraphcError(
                    f"shape {shape_text(self.shape)} has an extent that is not in 0..2^31-1",
                    remedy="use whole numbers, or N for the batch",
                )
            count *= dim
        if count > LARGEST_COUNT:
            raise GraphcError(
                f"shape {shape_text(self.shape)} has {count} elements, over the limit of 2^40",
                remedy="use a smaller tensor",
            )
        if not fits(self.layout, self.shape, self.batch_axis):
            raise GraphcError(
                f"shape {shape_text(self.shape)} cannot be stored {self.layout}",
                remedy="batch_last needs a batch; blocks, three axes and a multiple of 16 in each",
            )

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def batch_axis(self) -> int | None:
        """Which axis is N; None if there is none."""
        return next((i for i, d in enumerate(self.shape) if d is N), None)

    def concrete(self, n: int) -> tuple[int, ...]:
        """The shape with N = n."""
        return tuple(n if isinstance(d, Batch) else d for d in self.shape)

    def count(self, n: int = 1) -> int:
        """Number of elements with N = n."""
        return int(np.prod(self.concrete(n), dtype=np.int64))

    def bytes(self, n: int = 1) -> int:
        """Bytes of the elements with N = n, without padding."""
        return self.count(n) * self.dtype.itemsize

    def with_layout(self, layout: str) -> TensorType:
        """The same tensor stored in `layout`, or row-major if that does not fit the shape."""
        fitting = layout == ROW_MAJOR or fits(layout, self.shape, self.batch_axis)
        return TensorType(self.dtype, self.shape, layout if fitting else ROW_MAJOR)

    def __str__(self) -> str:
        suffix = "" if self.layout == ROW_MAJOR else f"{{{self.layout}}}"
        return f"{self.dtype}{shape_text(self.shape)}{suffix}"


@dataclass(frozen=True, slots=True)
class TupleType:
    """The type of a node with several results."""

    elements: tuple[TensorType, ...]

    def __str__(self) -> str:
        return "(" + ", ".join(map(str, self.elements)) + ")"


Type = TensorType | TupleType

_TYPE = re.compile(rf"\s*({'|'.join(DType.__members__)})\[([^\]]*)\](?:\{{(\w+)\}})?\s*")


@cache
def parse_type(text: str) -> TensorType:
    """Reads ``f32[N,3,32,32]`` or ``f32[N,3]{batch_last}``.

    Raises GraphcError with the text if it is anything else.
    """
    match = _TYPE.fullmatch(text)
    if match is None:
        raise GraphcError(
            f"{text!r} is not a tensor type",
            remedy="write it as dtype[extents], for example f32[N,1,32,32]; "
            f"dtypes: {' '.join(DType.__members__)}",
        )
    dims = [d.strip() for d in match[2].split(",")] if match[2].strip() else []
    shape: list[Dim] = []
    for dim in dims:
        if dim != "N" and not (dim.isdigit() and dim.isascii() and len(dim) <= len("2147483647")):
            raise GraphcError(
                f"{text!r} has the extent {dim!r}",
                remedy="an extent is a whole number, or N for the batch",
            )
        shape.append(N if dim == "N" else int(dim))
    return TensorType(DType[match[1]], tuple(shape), match[3] or ROW_MAJOR)


def shape_text(shape: Iterable[object]) -> str:
    """``[N,3,32]``."""
    return "[" + ",".join(map(str, shape)) + "]"


def whole_numbers(
    value: object, what: str, *, least: int = -LARGEST_EXTENT, count: int | None = None
) -> tuple[int, ...]:
    """`value`, a sequence of whole numbers from `least` up to 2^31-1, as a tuple.

    count: how many there must be; then a single number stands for as many of it.
    Raises GraphcError that says `what` the numbers are for.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        values = tuple(value)
    else:
        values = (value,) * (1 if count is None else count)
    fits = all(
        isinstance(v, int) and not isinstance(v, bool) and least <= v <= LARGEST_EXTENT
        for v in values
    )
    if not fits or (count is not None and len(values) != count):
        wanted = "whole numbers" if count is None else f"{count} whole numbers"
        raise GraphcError(
            f"{what} {value!r} is not made of {wanted} from {least} to 2^31-1",
            remedy=f"give {what} as whole numbers in that range",
        )
    return values


def normalize_axis(axis: int, rank: int, what: str) -> int:
    """`axis` counted from the front; raises GraphcError if it is outside the rank."""
    if not isinstance(axis, int) or isinstance(axis, bool) or not -rank <= axis < rank:
        raise GraphcError(
            f"{what}: axis {axis} is not one of the {rank} axes",
            remedy=f"use an axis in {-rank}..{rank - 1}",
        )
    return axis % rank


def normalize_axes(axes: int | Sequence[int] | None, rank: int, what: str) -> tuple[int, ...]:
    """Axes as an ascending tuple without repeats; None means all of them."""
    if axes is None:
        return tuple(range(rank))
    listed = whole_numbers(axes, f"{what}: axes")
    found = sorted(normalize_axis(a, rank, what) for a in listed)
    if len(set(found)) != len(found):
        raise GraphcError(
            f"{what}: axes {listed} name one axis twice", remedy="name each axis once"
        )
    return tuple(found)


def broadcast_shapes(shapes: Sequence[Shape], what: str) -> Shape:
    """numpy's broadcasting; N only meets N or 1. Raises GraphcError with the shapes."""
    rank = max((len(s) for s in shapes), default=0)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    result: list[Dim] = []
    for dims in zip(*padded, strict=True):
        wide = [d for d in dims if d != 1]
        if any(d != wide[0] for d in wide):
            listed = " and ".join(map(shape_text, shapes))
            raise GraphcError(
                f"{what}: shapes {listed} do not broadcast",
                remedy="make the extents of each axis, counted from the last, equal or 1",
            )
        result.append(wide[0] if wide else 1)
    return tuple(result)


def window_extent(
    size: int,
    window: int,
    *,
    stride: int,
    low: int,
    high: int,
    dilation: int = 1,
    ceil_mode: bool = False,
    what: str,
) -> int:
    """(W - F + P)/S + 1, rounded down, or up with `ceil_mode` (a last window must start inside the
    input or its low padding). Raises GraphcError with the formula filled in if nothing fits.
    """
    reach = dilation * (window - 1) + 1
    room = size - reach + low + high
    if room < 0:
        padding = str(low) if low == high else f"{low}+{high}"
        dilated = f" (dilated to {reach})" if dilation != 1 else ""
        value = room // stride + 1
        raise GraphcError(
            f"{what}: window {window}{dilated} does not fit size {size} with padding {padding}: "
            f"({size} - {reach} + {low + high})/{stride} + 1 = {value}",
            remedy="use a smaller window, more padding, or a larger input",
        )
    count = room // stride + 1
    if ceil_mode and room % stride and count * stride < size + low:
        count += 1
    return count
