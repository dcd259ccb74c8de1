"""How threads of a graphics processor share out axes, tiles and steps: every point is somebody's,
and nobody else's.
"""

from __future__ import annotations

import itertools
import math

import pytest

from graphc.ir.graph import Graph, make_input
from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType, parse_type
from graphc.loops.axes import cut
from graphc.loops.definition import define
from graphc.loops.gpu.places import Span, count, spanned, taken_apart
from graphc.loops.gpu.tiling import Matrices, Staging, Steps, Tiles, matrices
from graphc.loops.language import BATCH
from graphc.ops.contractions import conv2d, conv2d_input_grad, conv2d_weight_grad, matmul
from graphc.ops.elementwise import add, cast
from graphc.ops.views import pad, relayout, transpose

SAMPLES = 3


def spans(*extents: int, samples: bool = False) -> tuple[Span, ...]:
    """Spans named a, b, ..; the first holds the samples if `samples`."""
    found = []
    for k, extent in enumerate(extents):
        has = samples and k == 0
        found.append(Span(Variable("abc"[k], None if has else extent), extent, has))
    return tuple(found)


def length(span: Span) -> int:
    return span.extent * (SAMPLES if span.samples else 1)


def number(i: Index, **values: int) -> int:
    return i.evaluate(lambda v: SAMPLES if v == BATCH else values[v.name])


CASES = [spans(7), spans(5, 3, 4), spans(2, 24), spans(1, 6, samples=True), spans(4, 8, 16)]


@pytest.mark.parametrize("each", CASES, ids=str)
def test_flat_numbers_name_every_point_once(each: tuple[Span, ...]) -> None:
    for lanes in (1, 2, 4):
        if each[-1].extent % lanes:
            continue
        flat = Variable("flat")
        place = taken_apart(index(flat), each, lanes)
        points = [
            tuple(number(place[s.variable], flat=k) for s in each)
            for k in range(number(count(each, lanes)))
        ]
        heads = [range(length(s)) for s in each[:-1]]
        expected = itertools.product(*heads, range(0, length(each[-1]), lanes))
        assert points == list(expected)


@pytest.mark.parametrize("each", CASES, ids=str)
def test_steps_reach_every_number_once(each: tuple[Span, ...]) -> None:
    steps, step, inside = Steps(each, 16), Variable("step"), Variable("k", 16)
    place = steps.place(index(step), index(inside))
    points = []
    for s, k in itertools.product(range(number(steps.number)), range(16)):
        at = tuple(number(place[e.variable], step=s, k=k) for e in each)
        if at[0] < length(each[0]):
            points.append(at)
    assert sorted(points) == list(itertools.product(*(range(length(e)) for e in each)))


def test_what_depends_on_the_batch_is_counted_slowest() -> None:
    block = Variable("block")
    group, samples, column = (
        Span(Variable("g", 2), 2), Span(Variable("n"), 5, samples=True), Span(Variable("k", 4), 4),
    )  # fmt: skip
    tiles = Tiles((group,), (samples,), (column,), rows=1, columns=1)
    assert number(tiles.number) == 2 * 5 * SAMPLES * 4
    place, *others = tiles.place(block)
    parts = (place[group.variable], *others)
    found = [tuple(number(t, block=b) for t in parts) for b in range(2 * 5 * SAMPLES * 4)]
    assert len(set(found)) == len(found)
    assert [t[1] for t in found] == sorted(t[1] for t in found)


# -- contractions as products ----------------------------------------------------------------------


def product_of(graph: Graph) -> Matrices:
    found = matrices(spanned(cut(define(graph))))
    assert found is not None
    return found


def images(*shape: int) -> str:
    return f"f32[N,{','.join(map(str, shape))}]"


def graph_of(kind: str, stride: int = 1) -> Graph:
    """A convolution of 16 to 32 maps of 8x8, channels innermost, or one of its gradients."""
    side = 8 // stride
    x = make_input("x", parse_type(images(16, 8, 8)))
    g = make_input("g", parse_type(images(32, side, side)))
    w = make_input("w", parse_type("f32[32,16,3,3]"))
    x, g, w = (
        make_input(i.attrs["name"], i.tensor.with_layout("channels_last")) for i in (x, g, w)
    )
    attrs = {"padding": 1, "stride": stride}
    if kind == "forward":
        return Graph("conv", [x, w], [conv2d(x, w, **attrs)])
    if kind == "input":
        return Graph("conv", [g, w], [conv2d_input_grad(g, w, size=(8, 8), **attrs)])
    return Graph("conv", [x, g], [conv2d_weight_grad(x, g, window=(3, 3), **attrs)])


@pytest.mark.parametrize(
    ("kind", "rows", "columns", "summed"),
    [
        ("forward", 8 * 8 * SAMPLES, 32, 16 * 9),
        ("input", 8 * 8 * SAMPLES, 16, 32 * 9),
        ("weights", 32, 16 * 9, 8 * 8 * SAMPLES),
    ],
)
def test_convolutions_are_products(kind: str, rows: int, columns: int, summed: int) -> None:
    found = product_of(graph_of(kind))
    sizes = [math.prod(map(length, s)) for s in (found.left.spans, found.right.spans, found.summed)]
    assert sizes == [rows, columns, summed]
    assert found.groups == ()


def test_phases_of_a_stride_are_products_of_their_own() -> None:
    found = product_of(graph_of("input", stride=2))
    assert math.prod(map(length, found.groups)) == 2 * 2
    assert math.prod(map(length, found.left.spans)) == 4 * 4 * SAMPLES


def staging(graph: Graph, inner: bool, dtype: DType = DType.f32) -> tuple[Staging, Staging]:
    product = product_of(graph)
    steps = Steps(product.summed, 16)
    left, right = (
        Staging(name, factor, steps, 64, 128, dtype, inner)
        for name, factor in (("left", product.left), ("right", product.right))
    )
    return left, right


def test_operands_come_by_sixteen_bytes_as_they_lie() -> None:
    for each in staging(graph_of("forward"), inner=False):
        assert (each.along_summed, each.lanes, each.copies) == (True, 4, True)
    for each in staging(graph_of("weights"), inner=True):
        assert (each.along_summed, each.lanes, each.copies) == (False, 4, True)


def test_what_is_to_lie_the_other_way_round_comes_number_by_number() -> None:
    for each in staging(graph_of("forward"), inner=True):
        assert (each.lanes, each.copies) == (1, True)


def test_what_is_computed_goes_through_registers() -> None:
    a, b = (make_input(name, parse_type("f32[32,32]")) for name in "ab")
    for each in staging(Graph("m", [a, b], [matmul(add(a, a), transpose(b))]), inner=True):
        assert each.copies == (each.name == "right")
    halves = [cast(i, dtype=DType.bf16) for i in (a, b)]
    for each in staging(Graph("m", [a, b], [matmul(*halves)]), inner=True):
        assert not each.copies


def test_thin_products_are_sums() -> None:
    a, b = make_input("a", parse_type("f32[64,32]")), make_input("b", parse_type("f32[32,4]"))
    assert matrices(spanned(cut(define(Graph("m", [a, b], [matmul(a, b)]))))) is None


# -- spans -----------------------------------------------------------------------------------------


def kept(graph: Graph) -> list[tuple[int, bool]]:
    return [(s.extent, s.samples) for s in spanned(cut(define(graph))).kept]


def test_axes_that_run_on_are_one_span() -> None:
    x, y = (make_input(name, parse_type(images(6, 5, 4))) for name in "xy")
    assert kept(Graph("add", [x, y], [add(x, y)])) == [(120, True)]


def test_axes_in_another_order_or_with_bounds_stay() -> None:
    x = make_input("x", parse_type(images(6, 5, 4)))
    moved = Graph("move", [x], [relayout(x, layout="channels_last")])
    assert kept(moved) == [(1, True), (20, False), (6, False)]
    wider = Graph("pad", [x], [pad(x, low=(0, 0, 0, 1), high=(0, 0, 0, 0))])
    assert kept(wider) == [(30, True), (5, False)]
