"""Kernels without a reduction: one thread for a few neighbours of the first result, or twice as
many, so that more of memory is on its way at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.ir.index import Index, Variable, index
from graphc.loops.definition import Definition, Output
from graphc.loops.gpu.device import ACCESS, GPU
from graphc.loops.gpu.places import (
    THREAD,
    Access,
    Span,
    Spanned,
    blocks_for,
    count,
    grid,
    lanes_along,
    own_array,
    taken_apart,
    usual_count,
    where,
    with_lane,
)
from graphc.loops.language import Allocate, Read, Statement, Store, loop, parts, substitute

THREADS = 256
LANE = Variable("l")
RESIDENT = 2048  # threads that a multiprocessor holds at a time
TWICE = Variable("part", 2)
CHEAP = 48  # functions and reads of a point that leave registers for another one


def pointwise(spanned: Spanned[Definition], gpu: GPU) -> tuple[tuple[Statement, ...], str]:
    """The loops of a definition that reduces nothing, and the choice made, in words.

    Threads run along the first result as it lies in memory, each over as many neighbours as one
    access moves, so that a warp reads and writes whole lines.
    """
    outputs, spans = spanned.definition.outputs, spanned.kept
    lanes = result_lanes(outputs, spans)
    thread = Variable(THREAD, THREADS)
    units = count(spans, lanes)
    enough = usual_count(spans) // lanes >= 2 * RESIDENT * gpu.multiprocessors
    twice = enough and len(list(parts(*(o.value for o in outputs)))) <= CHEAP
    reach = THREADS * (2 if twice else 1)
    blocks = blocks_for(units, reach)
    block = grid(blocks)
    unit = index(block) * reach + index(thread)
    if twice:
        unit += index(TWICE) * THREADS
    place = taken_apart(unit, spans, lanes)
    if lanes > 1:
        place = with_lane(place, spans, LANE)
    body = stores(outputs, place)
    if twice:
        threads = loop(thread, THREADS, "thread", _in_two(body, lanes, units - unit))
    else:
        threads = loop(
            thread, THREADS, "thread", in_lanes(lanes, body), high=(units - unit + index(thread),)
        )
    along = f" x {lanes} {spans[-1].variable}" if lanes > 1 else ""
    return (
        (loop(block, blocks, "block", threads),),
        f"{THREADS} threads x 2{along}" if twice else f"{THREADS} threads{along}",
    )


def _in_two(body: tuple[Store, ...], lanes: int, left: Index) -> tuple[Statement, ...]:
    """`body` for two groups of neighbours: what both read is asked for before either is written."""
    at = (index(TWICE), index(LANE) if lanes > 1 else Index())
    arrays = [own_array(f"value{k}", s.value.dtype, (2, lanes)) for k, s in enumerate(body)]
    computed = tuple(Store(a, at, s.value) for a, s in zip(arrays, body, strict=True))
    written = tuple(
        Store(s.buffer, s.indices, Read(a, at)) for a, s in zip(arrays, body, strict=True)
    )
    found: tuple[Statement, ...] = tuple(
        loop(TWICE, 2, "unroll", where([left], in_lanes(lanes, each)))
        for each in (computed, written)
    )
    for array in arrays:
        found = (Allocate(array, found),)
    return found


def result_lanes(outputs: tuple[Output, ...], spans: tuple[Span, ...]) -> int:
    """How many neighbours a thread handles: those that one access to the widest result moves, if
    the first result lies so and whole accesses fill it.
    """
    first = outputs[0]
    if not spans or Access(first.buffer, first.indices).step(spans[-1].variable) != 1:
        return 1
    return lanes_along(spans[-1], ACCESS // max(o.buffer.dtype.itemsize for o in outputs))


def stores(outputs: tuple[Output, ...], place: Mapping[Variable, Index]) -> tuple[Store, ...]:
    """Every result of one point."""
    return tuple(
        Store(o.buffer, tuple(i.substitute(place) for i in o.indices), substitute(o.value, place))
        for o in outputs
    )


def in_lanes(lanes: int, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """`body` for `lanes` neighbours at once."""
    return (loop(LANE, lanes, "vector", body, lanes=lanes),) if lanes > 1 else body
