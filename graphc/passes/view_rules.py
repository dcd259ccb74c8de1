"""Rules about views: what the builders would not have built, and views of views as one.

A view moves elements and never computes, so every rule here keeps the very bits. Each function
says what it guards; each rule carries the graphs that its generated tests run. It knows the views'
attributes and no arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.node import Node
from graphc.ir.rewrite import FunctionRule
from graphc.ir.types import Dim, DType
from graphc.ops.contractions import matmul
from graphc.ops.elementwise import cast
from graphc.ops.op import op_of
from graphc.ops.views import broadcast, pad, slice, transpose

BUILT = ("broadcast", "transpose", "slice", "pad", "relayout", "reshape", "cast")


def as_built(node: Node) -> Node:
    """What the op's builder makes of the same operands.

    Builders drop identities and join transposes, reshapes and relayouts:
    transpose(transpose(x)) -> x, reshape(reshape(x)) -> reshape(x), slice(x, all of it) -> x.
    """
    built: Node = op_of(node).build(node.inputs[0], **node.attrs)
    return built


def broadcast_broadcast(node: Node) -> Node | None:
    """broadcast(broadcast(x)) -> broadcast(x): axis k of x goes where its image went."""
    inner = node.inputs[0]
    if inner.op.name != "broadcast":
        return None
    axes = [node.attrs["axes"][a] for a in inner.attrs["axes"]]
    return broadcast(inner.inputs[0], shape=node.attrs["shape"], axes=axes)


def slice_slice(node: Node) -> Node | None:
    """slice(slice(x)) -> slice(x): start b1 + s1 b2, step s1 s2, up to the last element taken."""
    inner = node.inputs[0]
    if inner.op.name != "slice":
        return None
    first = _ranges(inner, inner.inputs[0].tensor.shape)
    second = _ranges(node, inner.tensor.shape)
    joined = [
        (b1 + s1 * b2, None if e2 is None and e1 is None else _end(b1, s1, e2, e1), s1 * s2)
        for (b1, e1, s1), (b2, e2, s2) in zip(first, second, strict=True)
    ]
    return _sliced(inner.inputs[0], joined)


def slice_pad(node: Node) -> Node | None:
    """slice(pad(x)) -> slice(x), where the slice takes nothing of the padding.

    Guard: on every axis no interior padding, and low <= start, stop <= low + extent.
    """
    inner = node.inputs[0]
    if inner.op.name != "pad" or any(inner.attrs["interior"]):
        return None
    source = inner.inputs[0]
    ranges: list[Range] = []
    for low, high, extent, (start, stop, step) in zip(
        inner.attrs["low"],
        inner.attrs["high"],
        source.tensor.shape,
        _ranges(node, inner.tensor.shape),
        strict=True,
    ):
        if not low and not high:
            ranges.append((start, stop, step))
            continue
        if not isinstance(extent, int) or stop is None or start < low or stop > low + extent:
            return None
        ranges.append((start - low, stop - low, step))
    return _sliced(source, ranges)


def pad_pad(node: Node) -> Node | None:
    """pad(pad(x)) -> pad(x) with the amounts added.

    Guard: the same fill to the bit, no interior outside, and no side that crops and then pads.
    """
    inner = node.inputs[0]
    if inner.op.name != "pad" or any(node.attrs["interior"]):
        return None
    if _bits(inner.attrs["value"]) != _bits(node.attrs["value"]):
        return None
    pairs = {
        side: list(zip(inner.attrs[side], node.attrs[side], strict=True))
        for side in ("low", "high")
    }
    if any(first < 0 < second for side in pairs.values() for first, second in side):
        return None
    low, high = ([first + second for first, second in pairs[side]] for side in ("low", "high"))
    interior = inner.attrs["interior"]
    return pad(inner.inputs[0], low=low, high=high, interior=interior, value=inner.attrs["value"])


EXACT_CASTS = frozenset(
    {(DType.bool, other) for other in DType}
    | {(DType.i32, DType.i64), (DType.i32, DType.f64), (DType.f32, DType.f64)}
    | {(DType.u8, other) for other in (DType.i32, DType.i64, DType.f32, DType.f64)}
)


def cast_cast(node: Node) -> Node | None:
    """cast(cast(x)) -> cast(x), where the inner cast loses nothing.

    Guard: the inner cast is one of `EXACT_CASTS`, and a float does not end as an integer (what
    an integer too large becomes is not defined, and need not be the same for both).
    """
    inner = node.inputs[0]
    if inner.op.name != "cast":
        return None
    source, middle, final = (n.tensor.dtype for n in (inner.inputs[0], inner, node))
    to_integer = source.is_float and final.is_integer
    if (source, middle) not in EXACT_CASTS or to_integer:
        return None
    return cast(inner.inputs[0], dtype=final)


def transpose_matmul(node: Node) -> Node | None:
    """transpose(matmul(a, b)) -> matmul(transpose(b), transpose(a)): the same products and sums.

    A gradient of a dense layer's weights then comes out in the weights' own order.
    Guard: a or b is a transpose, which goes; otherwise there would be one more instead of one less.
    """
    inner = node.inputs[0]
    if inner.op.name != "matmul" or not any(i.op.name == "transpose" for i in inner.inputs):
        return None
    left, right = inner.inputs
    return matmul(transpose(right), transpose(left))


Range = tuple[int, int | None, int]


def _ranges(node: Node, shape: Sequence[Dim]) -> list[Range]:
    """(start, stop, step) for each axis; stop is a number unless the axis is the batch."""
    return [
        (start, extent if stop is None and isinstance(extent, int) else stop, step)
        for start, stop, step, extent in zip(
            node.attrs["start"], node.attrs["stop"], node.attrs["step"], shape, strict=True
        )
    ]


def _end(start: int, step: int, taken: int | None, limit: int | None) -> int:
    """One past the last element of a range of a range: `taken` steps from `start`, in `limit`."""
    assert taken is not None and limit is not None
    return min(start + step * (taken - 1) + 1, limit)


def _sliced(source: Node, ranges: Sequence[Range]) -> Node:
    starts, stops, steps = zip(*ranges, strict=True)
    return slice(source, start=starts, stop=stops, step=steps)


def _bits(value: float | int) -> str:
    return value.hex() if isinstance(value, float) else str(value)


def example(type: str, *lines: str) -> str:
    """A graph of one input %x for the tests: its lines define %a, %b, ..., the last is returned."""
    named = [f"%{name} = {line}" for name, line in zip("abcdef", lines, strict=False)]
    last = named[-1].partition(" ")[0]
    return "\n".join([f"graph example(%x: {type}) {{", *named, f"return {last}", "}"])


VIEW_RULES: tuple[FunctionRule, ...] = (
    FunctionRule("view-as-built", BUILT, as_built, (
        example("f32[N,3]", "transpose(%x) {axes=(1, 0)} : f32[3,N]",
                "transpose(%a) {axes=(1, 0)} : f32[N,3]"),
        example("f32[N,2,6]", "reshape(%x) {shape=(N, 12)} : f32[N,12]",
                "reshape(%a) {shape=(N, 3, 4)} : f32[N,3,4]"),
        example("f32[N,3]", "slice(%x) {start=(0, 0), step=(1, 1), stop=(None, 3)} : f32[N,3]"),
        example("f32[3]", "pad(%x) {high=(0,), interior=(0,), low=(0,), value=0.0} : f32[3]"),
        example("f32[N,3]", "broadcast(%x) {axes=(0, 1), shape=(N, 3)} : f32[N,3]"),
        example("f32[N,3]", "reshape(%x) {shape=(N, 3)} : f32[N,3]"),
        example("f32[N,3]", "relayout(%x) {layout='batch_last'} : f32[N,3]{batch_last}",
                "relayout(%a) {layout='batch_first'} : f32[N,3]"),
        example("f32[N,3]", "cast(%x) {dtype=f32} : f32[N,3]"),
    )),
    FunctionRule("transpose-matmul", ("transpose",), transpose_matmul, (
        example("f32[N,4]", "full() {dtype=f32, shape=(N, 3), value=0.5} : f32[N,3]",
                "transpose(%x) {axes=(1, 0)} : f32[4,N]", "matmul(%b, %a) : f32[4,3]",
                "transpose(%c) {axes=(1, 0)} : f32[3,4]"),
    )),
    FunctionRule("broadcast-broadcast", ("broadcast",), broadcast_broadcast, (
        example("f32[3]", "broadcast(%x) {axes=(1,), shape=(2, 3)} : f32[2,3]",
                "broadcast(%a) {axes=(1, 2), shape=(N, 2, 3)} : f32[N,2,3]"),
        example("f32[]", "broadcast(%x) {axes=(), shape=(4,)} : f32[4]",
                "broadcast(%a) {axes=(0,), shape=(4, N)} : f32[4,N]"),
    )),
    FunctionRule("slice-slice", ("slice",), slice_slice, (
        example("f32[N,9]", "slice(%x) {start=(0, 1), step=(1, 2), stop=(None, 8)} : f32[N,4]",
                "slice(%a) {start=(0, 1), step=(1, 2), stop=(None, 4)} : f32[N,2]"),
        example("f32[9]", "slice(%x) {start=(1,), step=(3,), stop=(9,)} : f32[3]",
                "slice(%a) {start=(1,), step=(1,), stop=(3,)} : f32[2]"),
    )),
    FunctionRule("slice-pad", ("slice",), slice_pad, (
        example("f32[N,4]",
                "pad(%x) {high=(0, 1), interior=(0, 0), low=(0, 2), value=0.0} : f32[N,7]",
                "slice(%a) {start=(0, 3), step=(1, 2), stop=(None, 6)} : f32[N,2]"),
        example("f32[4]", "pad(%x) {high=(1,), interior=(0,), low=(2,), value=0.0} : f32[7]",
                "slice(%a) {start=(2,), step=(1,), stop=(6,)} : f32[4]"),
    )),
    FunctionRule("pad-pad", ("pad",), pad_pad, (
        example("f32[4]", "pad(%x) {high=(1,), interior=(1,), low=(2,), value=0.5} : f32[10]",
                "pad(%a) {high=(2,), interior=(0,), low=(-1,), value=0.5} : f32[11]"),
        example("f32[2]", "pad(%x) {high=(1,), interior=(0,), low=(1,), value=0.0} : f32[4]",
                "pad(%a) {high=(-1,), interior=(0,), low=(-1,), value=0.0} : f32[2]"),
    )),
    FunctionRule("cast-cast", ("cast",), cast_cast, (
        example("f32[4]", "cast(%x) {dtype=f64} : f64[4]", "cast(%a) {dtype=f32} : f32[4]"),
        example("bool[4]", "cast(%x) {dtype=i32} : i32[4]", "cast(%a) {dtype=f32} : f32[4]"),
        example("i32[4]", "cast(%x) {dtype=i64} : i64[4]", "cast(%a) {dtype=f32} : f32[4]"),
        example("u8[4]", "cast(%x) {dtype=i32} : i32[4]", "cast(%a) {dtype=f32} : f32[4]"),
    )),
)  # fmt: skip
