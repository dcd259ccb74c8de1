"""Kernels without a reduction: one thread for a few neighbours of the first result."""

from __future__ import annotations

from graphc.ir.index import Index, Variable, index
from graphc.loops.definition import Output
from graphc.loops.gpu.device import ACCESS
from graphc.loops.gpu.places import (
    THREAD,
    Access,
    Span,
    Spanned,
    blocks_for,
    count,
    grid,
    lanes_along,
    taken_apart,
    with_lane,
)
from graphc.loops.language import Statement, Store, loop, substitute

THREADS = 256
LANE = Variable("l")


def pointwise(spanned: Spanned) -> tuple[tuple[Statement, ...], str]:
    """The loops of a definition that reduces nothing, and the choice made, in words.

    Threads run along the first result as it lies in memory, each over as many neighbours as one
    access moves, so that a warp reads and writes whole lines.
    """
    outputs, spans = spanned.definition.outputs, spanned.kept
    lanes = result_lanes(outputs, spans)
    thread = Variable(THREAD, THREADS)
    units = count(spans, lanes)
    blocks = blocks_for(units, THREADS)
    block = grid(blocks)
    place = taken_apart(index(block) * THREADS + index(thread), spans, lanes)
    if lanes > 1:
        place = with_lane(place, spans, LANE)
    body = in_lanes(lanes, stores(outputs, place))
    threads = loop(thread, THREADS, "thread", body, high=(units - index(block) * THREADS,))
    return (loop(block, blocks, "block", threads),), words(THREADS, lanes, spans)


def result_lanes(outputs: tuple[Output, ...], spans: tuple[Span, ...]) -> int:
    """How many neighbours a thread handles: those that one access to the widest result moves, if
    the first result lies so and whole accesses fill it.
    """
    first = outputs[0]
    if not spans or Access(first.buffer, first.indices).step(spans[-1].variable) != 1:
        return 1
    return lanes_along(spans[-1], ACCESS // max(o.buffer.dtype.itemsize for o in outputs))


def stores(outputs: tuple[Output, ...], place: dict[Variable, Index]) -> tuple[Statement, ...]:
    """Every result of one point."""
    return tuple(
        Store(o.buffer, tuple(i.substitute(place) for i in o.indices), substitute(o.value, place))
        for o in outputs
    )


def in_lanes(lanes: int, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """`body` for `lanes` neighbours at once."""
    return (loop(LANE, lanes, "vector", body, lanes=lanes),) if lanes > 1 else body


def words(threads: int, lanes: int, spans: tuple[Span, ...]) -> str:
    """A schedule in words."""
    along = f" x {lanes} {spans[-1].variable}" if lanes > 1 else ""
    return f"{threads} threads{along}"
