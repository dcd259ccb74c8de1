"""Kernels without a reduction: one thread for a few neighbours of the first result."""

from __future__ import annotations

from graphc.ir.index import Variable, index
from graphc.loops.definition import Axis, Definition
from graphc.loops.gpu.device import ACCESS
from graphc.loops.gpu.places import (
    BLOCK,
    THREAD,
    Access,
    blocks_for,
    count,
    in_memory_order,
    taken_apart,
)
from graphc.loops.language import Statement, Store, loop, substitute

THREADS = 256
LANE = Variable("l")


def pointwise(definition: Definition) -> tuple[tuple[Statement, ...], str]:
    """The loops of a definition that reduces nothing, and the choice made, in words.

    Threads run along the first result as it lies in memory, each over as many neighbours as one
    access moves, so that a warp reads and writes whole lines.
    """
    thread = Variable(THREAD, THREADS)
    stores = [Access(o.buffer, o.indices) for o in definition.outputs]
    axes = in_memory_order(definition.axes, stores[0])
    lanes = _lanes(axes, stores)
    work = axes if lanes == 1 else (*axes[:-1], _vector(axes[-1], lanes))
    points = count(work)
    place = taken_apart(index(BLOCK) * THREADS + index(thread), work)
    if lanes > 1:
        place[axes[-1].variable] = place[work[-1].variable] * lanes + index(LANE)
    body: tuple[Statement, ...] = tuple(
        Store(o.buffer, tuple(i.substitute(place) for i in o.indices), substitute(o.value, place))
        for o in definition.outputs
    )
    if lanes > 1:
        body = (loop(LANE, lanes, "vector", body, lanes=lanes),)
    threads = loop(thread, THREADS, "thread", body, high=(points - index(BLOCK) * THREADS,))
    words = f"{THREADS} threads x {lanes} {axes[-1].variable}" if axes else "one thread"
    return (loop(BLOCK, blocks_for(points, THREADS), "block", threads),), words


def _lanes(axes: tuple[Axis, ...], stores: list[Access]) -> int:
    """How many neighbours a thread handles: those that one access to the widest result holds, if
    whole accesses fill the innermost axis.
    """
    if not axes or not isinstance(axes[-1].extent, int):
        return 1
    if any(store.step(axes[-1]) != 1 for store in stores):
        return 1
    lanes = ACCESS // max(store.buffer.dtype.itemsize for store in stores)
    while axes[-1].extent % lanes:
        lanes //= 2
    return lanes


def _vector(axis: Axis, lanes: int) -> Axis:
    """The axis of whole accesses along `axis`."""
    assert isinstance(axis.extent, int)
    extent = axis.extent // lanes
    return Axis(Variable(f"{axis.variable.name}v", extent), extent)
