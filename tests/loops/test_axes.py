"""Loops in the form that schedules like: blocks are cut, neighbours merge, sums are in order, and
what is touched stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from graphc.ir.graph import Graph, make_input
from graphc.ir.index import Index, Variable
from graphc.ir.node import Node
from graphc.ir.types import parse_type
from graphc.loops.axes import normalized
from graphc.loops.definition import Axis, Definition, body_of, define
from graphc.loops.language import Expression, Position, Read, Scalar
from graphc.ops.contractions import conv2d, conv2d_input_grad, conv2d_weight_grad, matmul
from graphc.ops.create import iota
from graphc.ops.elementwise import add, mul, relu
from graphc.ops.pooling import max_pool2d
from graphc.ops.reductions import sum
from graphc.ops.views import broadcast, pad, relayout, slice, transpose
from graphc.passes.fuse import Fuse

Array = np.ndarray[Any, Any]
SAMPLES = 2
APART = 1 << 40


def _x(type: str, name: str = "x") -> Node:
    return make_input(name, parse_type(type))


def _one_kernel(node: Node, *inputs: Node) -> Node:
    """`node` and what it is computed from as one kernel."""
    (fused,) = Fuse().run(Graph("g", inputs, [node])).outputs
    return fused


X, W = _x("f32[N,32,4,4]{blocked_1}"), _x("f32[48,32,3,3]{blocked_1_0}", "w")
G = _x("f32[N,48,2,2]{blocked_1}", "g")
BACK = _x("f32[48,32,3,3]{blocked_0_1}", "w")
PLAIN = _x("f32[N,32,4,4]", "plain")
FEATURES, DENSE = (_x(f"f32[{rows},512]{{features_1_16}}", rows) for rows in ("N", "5"))
EVERYTHING = (0, 0, 0, 0), (None, None, None, None)

# What is computed: the loops over outputs | the loops of the sum.
LOOPS = {
    "blocks one after the other are one loop": (relu(X), "n:N i1b:512"),
    "row-major images are one loop": (relu(PLAIN), "n:N i1:512"),
    "into blocks: 16 channels, one by one": (
        relayout(PLAIN, layout="blocked_1"), "n:N i1b:2 i2:16 i1i:16",
    ),
    "a convolution: rows of maps, a row of the window's channels": (
        conv2d(X, W), "kb:3 y:2 x:2 n:N ki:16 | cb:2 r:3 s:48",
    ),
    "a window of one pixel: pixels are one loop": (
        conv2d(X, _x("f32[48,32,1,1]{blocked_1_0}", "w")), "kb:3 y:16 n:N ki:16 | cb:2 ci:16",
    ),
    "a gradient of weights sums samples outermost": (
        conv2d_weight_grad(X, G, window=(3, 3)), "kb:3 cb:2 r:3 s:3 ki:16 ci:16 | n:N y:2 x:2",
    ),
    "a gradient of images goes by the stride": (
        conv2d_input_grad(G, BACK, size=(4, 4), stride=2, padding=1),
        "cb:2 yb:2 xb:2 n:N ci:16 yi:2 xi:2 | kb:3 r:2 s:2 ki:16",
    ),
    "an odd image is not cut by the stride": (
        conv2d_input_grad(G, BACK, size=(5, 5), stride=2),
        "cb:2 y:5 x:5 n:N ci:16 | kb:3 r:2 s:2 ki:16",
    ),
    "features of images lie as they do": (relu(FEATURES), "n:N i1b:512"),
    "into the order of features": (
        relayout(_x("f32[5,96]", "w"), layout="features_1_6"), "i0:5 i1p:6 i1c:16",
    ),
    "a product sums features in the order in which they lie": (
        matmul(FEATURES, transpose(DENSE)), "m:N n:5 | kb:512",
    ),
    "features times row-major weights": (
        matmul(FEATURES, _x("f32[512,5]", "b")), "m:N n:5 | kb:2 kp:16 kc:16",
    ),
    "a gradient of features": (matmul(_x("f32[N,5]", "g"), DENSE), "m:N nb:512 | k:5"),
    "a sum over pixels": (sum(X, axes=(2, 3)), "n:N i1b:2 i1i:16 | r0:16"),
    "a sum over all but channels": (sum(X, axes=(0, 2, 3)), "i0b:2 i0i:16 | n:N r1:16"),
    "windows: rows run on, columns do not": (
        max_pool2d(X, window=2), "n:N i1b:4 i3:2 i1i:16 | r0:2 r1:2",
    ),
    "conditions on pixels keep them apart": (
        pad(X, low=(0, 0, 1, 0), high=(0, 0, 0, 0)), "n:N i1b:2 i2:5 i3:64",
    ),
    "positions keep their loops": (
        mul(PLAIN, iota(axis=2, shape=PLAIN.tensor.shape, dtype=PLAIN.tensor.dtype)),
        "n:N i1:32 i2:4 i3:4",
    ),
    "a vector over channels keeps channels apart": (
        add(PLAIN, broadcast(_x("f32[32]", "b"), shape=PLAIN.tensor.shape, axes=(1,))),
        "n:N i1:32 i2:16",
    ),
    "part of a block stays in quotients": (
        slice(X, start=EVERYTHING[0], stop=(None, 24, None, None)), "n:N i1:24 i2:16",
    ),
    "images turned round do not run on": (
        transpose(X, axes=(0, 1, 3, 2)), "n:N i1b:2 i2:4 i3:4 i1i:16",
    ),
    "lanes of samples keep their loops": (relu(_x("f32[N,4,5]{batch_last}")), "n:N i1:4 i2:5"),
    "a matrix product has its three": (
        matmul(_x("f32[N,8]"), _x("f32[8,5]", "b")), "m:N n:5 | k:8",
    ),
}  # fmt: skip
INPUTS = {
    "positions keep their loops": (PLAIN,),
    "a vector over channels keeps channels apart": (PLAIN, _x("f32[32]", "b")),
}


def _definition(name: str) -> Definition:
    node = LOOPS[name][0]
    return define(body_of(_one_kernel(node, *INPUTS[name]) if name in INPUTS else node))


def _loops(definition: Definition) -> str:
    def text(axes: Iterable[Axis]) -> str:
        return " ".join(f"{a.variable}:{a.extent}" for a in axes)

    both = (definition.axes, definition.reduced)
    return " | ".join(text(axes) for axes in both if axes)


@pytest.mark.parametrize("name", LOOPS)
def test_the_loops_of(name: str) -> None:
    assert _loops(normalized(_definition(name))) == LOOPS[name][1]


@pytest.mark.parametrize("name", LOOPS)
def test_the_same_elements_meet_as_often_as_before(name: str) -> None:
    before = _definition(name)
    assert np.array_equal(_touched(normalized(before)), _touched(before))


def test_what_is_in_form_stays_as_it_is() -> None:
    definition = _definition("a matrix product has its three")
    assert normalized(definition) == definition
    once = normalized(_definition("a convolution: rows of maps, a row of the window's channels"))
    assert normalized(once) == once


def _touched(definition: Definition) -> Array:
    """Each set of elements and positions that is looked at together, a row each, over all loops;
    in order.
    """
    axes = (*definition.axes, *definition.reduced)
    extents = [a.extent if isinstance(a.extent, int) else SAMPLES for a in axes]
    numbers = np.indices(extents).reshape(len(axes), -1)
    at = dict(zip((a.variable for a in axes), numbers, strict=True))
    values = [o.value for o in definition.outputs]
    columns = [_place(o.buffer.offset(o.indices), at) for o in definition.outputs]
    for leaf in _leaves([*values, *([] if definition.term is None else [definition.term])]):
        columns.append(_seen(leaf, at))
    rows = np.stack([np.broadcast_to(c, numbers.shape[1]) for c in columns])
    return rows[:, np.lexsort(rows)]


def _leaves(expressions: list[Expression]) -> Iterable[Read | Position]:
    for e in expressions:
        if isinstance(e, Scalar):
            yield from _leaves(list(e.arguments))
        elif isinstance(e, Read | Position):
            yield e


def _seen(leaf: Read | Position, at: dict[Variable, Array]) -> Array:
    """The element that is read, -1 outside of its bounds; or the number that a position is."""
    if isinstance(leaf, Position):
        return leaf.index.evaluate(at.__getitem__)
    place = _place(leaf.buffer.offset(leaf.indices), at)
    for bound in leaf.bounds:
        value = bound.value.evaluate(at.__getitem__)
        high = SAMPLES if bound.high is None else bound.high
        place = np.where((value >= bound.low) & (value < high), place, -1)
    return place


def _place(offset: tuple[Index, Index], at: dict[Variable, Array]) -> Array:
    """A number for each element: what is counted in padded batches is kept apart."""
    fixed, padded = (part.evaluate(at.__getitem__) for part in offset)
    return np.asarray(fixed + APART * padded)
