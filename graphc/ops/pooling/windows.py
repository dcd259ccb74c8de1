"""Windows that slide over an image batch: sizes, attributes, and which input element is which tap.

Output (n, c, y, x) of a pooling reads the taps (r, s) of its window, input row y*stride + r - top
and column x*stride + s - left. Read backwards, an input element is reached by a few windows, by
each as one tap. Taps outside the input never count; `ceil_mode` is padding at the far end. What is
done with the taps is not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.node import Attrs
from graphc.ir.types import Dim, TensorType, whole_numbers, window_extent
from graphc.ops.contractions import Pair, check_window_attrs, padding4, pair
from graphc.ops.families import require_dtype
from graphc.ops.op import Access, Bound, common_layout, sample

Indices = tuple[Index, ...]


def image_size(what: str, type: TensorType) -> tuple[int, int]:
    """Height and width of [N,C,H,W]. Raises GraphcError for any other shape."""
    if type.rank != 4 or not isinstance(type.shape[2], int) or not isinstance(type.shape[3], int):
        raise GraphcError(
            f"{what}: {type} is not an image batch", remedy="give [N,channels,height,width]"
        )
    return type.shape[2], type.shape[3]


def pooled_extents(
    what: str, size: Sequence[int], attrs: Attrs, ceil_mode: bool = False
) -> tuple[int, int]:
    """Height and width after pooling an input of `size`."""
    check_window_attrs(what, attrs)
    top, bottom, left, right = attrs["padding"]
    found = [
        window_extent(
            size[a],
            attrs["window"][a],
            stride=attrs["stride"][a],
            low=low,
            high=high,
            ceil_mode=ceil_mode,
            what=what,
        )
        for a, (low, high) in enumerate(((top, bottom), (left, right)))
    ]
    for a, most in enumerate((max(top, bottom), max(left, right))):
        if most >= attrs["window"][a]:
            raise GraphcError(
                f"{what}: padding {most} is not smaller than the window {attrs['window'][a]}",
                remedy="use less padding, so that every window sees the input",
            )
    return found[0], found[1]


def window_attrs(
    what: str,
    size: Sequence[Dim],
    window: Pair,
    stride: Pair | None,
    padding: Pair,
    ceil_mode: bool,
) -> dict[str, Any]:
    """Normal attributes of a pooling op.

    `ceil_mode` becomes padding at the bottom and the right.
    """
    attrs = {
        "window": pair(window, f"{what}: window", 1),
        "stride": pair(window if stride is None else stride, f"{what}: stride", 1),
        "padding": padding4(padding),
    }
    if not ceil_mode:
        return attrs
    top, bottom, left, right = attrs["padding"]
    numbers = whole_numbers(size, f"{what}: height and width", count=2)
    reach = [
        (count - 1) * s + w for count, s, w in
        zip(pooled_extents(what, numbers, attrs, True), attrs["stride"], attrs["window"],
            strict=True)
    ]  # fmt: skip
    bottom, right = (
        max(bottom, reach[0] - numbers[0] - top),
        max(right, reach[1] - numbers[1] - left),
    )
    return attrs | {"padding": (top, bottom, left, right)}


def pool_rule(name: str, inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    """The pooled type: the shape from the first input, the dtype from the last."""
    require_dtype(name, inputs[-1], "number")
    size = image_size(name, inputs[0])
    extents = pooled_extents(name, size, attrs)
    shape = (*inputs[0].shape[:2], *extents)
    return TensorType(inputs[-1].dtype, shape).with_layout(common_layout(inputs))


def unpool_rule(name: str, inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    """The type of what was pooled: every input has the shape that pooling `size` gives."""
    require_dtype(name, inputs[-1], "float")
    expected = pooled_extents(name, attrs["size"], attrs)
    for type in inputs:
        if image_size(name, type) != expected:
            raise GraphcError(
                f"{name}: {type} is not the {expected} that pooling {attrs['size']} gives",
                remedy="give the gradient of that pooling's output",
            )
    shape = (*inputs[0].shape[:2], *attrs["size"])
    return TensorType(inputs[-1].dtype, shape).with_layout(common_layout(inputs))


def taps(out: Indices, tap: Indices, attrs: Attrs) -> Indices:
    """Where in the input tap (r, s) of the window of output (n, c, y, x) is."""
    (sy, sx), (top, _, left, _) = attrs["stride"], attrs["padding"]
    return (out[0], out[1], out[2] * sy + tap[0] - top, out[3] * sx + tap[1] - left)


def tap_number(attrs: Attrs, r: Any, s: Any) -> Any:
    """The position of tap (r, s) in row-major order."""
    return r * attrs["window"][1] + s


def window_domain(inputs: tuple[TensorType, ...], attrs: Attrs) -> tuple[Dim, ...]:
    """A pooling reduces over its window."""
    window: tuple[int, int] = attrs["window"]
    return window


def reaching(attrs: Attrs) -> tuple[int, int]:
    """How many windows can reach one input element, vertically and horizontally."""
    (r, s), (sy, sx) = attrs["window"], attrs["stride"]
    return -(-r // sy), -(-s // sx)


def reached(
    out: Indices, back: Indices, attrs: Attrs
) -> tuple[Indices, tuple[Index, Index], tuple[Bound, ...]]:
    """(the window `back` steps before the last that reaches input `out`, the tap, its bounds)."""
    (r, s), (sy, sx), (top, _, left, _) = attrs["window"], attrs["stride"], attrs["padding"]
    y, x = out[2] + top, out[3] + left
    tap = (y % sy + back[0] * sy, x % sx + back[1] * sx)
    window = (out[0], out[1], y // sy - back[0], x // sx - back[1])
    return window, tap, (Bound(tap[0], 0, r), Bound(tap[1], 0, s))


def numpy_taps(
    size: tuple[int, int], out: tuple[int, int], attrs: Attrs
) -> Iterator[tuple[int, Any, Any]]:
    """(tap number, slices of the output, of the input) for each tap, clipped to the input."""
    (rows, columns), (sy, sx), (top, _, left, _) = (
        attrs["window"],
        attrs["stride"],
        attrs["padding"],
    )
    for r in range(rows):
        for s in range(columns):
            ys = [(y, y * sy + r - top) for y in range(out[0]) if 0 <= y * sy + r - top < size[0]]
            xs = [(x, x * sx + s - left) for x in range(out[1]) if 0 <= x * sx + s - left < size[1]]
            to = np.ix_([y for y, _ in ys], [x for x, _ in xs])
            source = np.ix_([i for _, i in ys], [j for _, j in xs])
            yield tap_number(attrs, r, s), to, source


def elements_at(array: Any, place: Any) -> Any:
    """The rows and columns `place` of every image."""
    return array[:, :, place[0], place[1]]


WINDOW_SAMPLES = tuple(
    sample(type, window=window, stride=stride, padding=padding, raises=raises, values="distinct")
    for type, window, stride, padding, raises in (
        ("f32[N,2,6,6]", (2, 2), (2, 2), (0, 0, 0, 0), None),
        ("f32[N,1,7,5]", (3, 2), (2, 1), (1, 1, 0, 1), None),
        ("f64[2,2,7,7]", (2, 2), (2, 2), (0, 1, 0, 1), None),
        ("f32[N,2,2,2]", (3, 3), (1, 1), (0, 0, 0, 0), "does not fit"),
        ("f32[N,2,6,6]", (2, 2), (0, 2), (0, 0, 0, 0), "stride"),
        ("f32[N,2,6,6]", (2, 2), (2, 2), (2, 0, 0, 0), "padding"),
    )
)


def unpool_access(
    out: Indices, back: Indices, inputs: tuple[TensorType, ...], attrs: Attrs
) -> Access:
    """Each window that may reach an output of unpooling, once."""
    window, _, bounds = reached(out, back, attrs)
    return Access((window,) * len(inputs), bounds)
