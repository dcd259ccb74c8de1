"""Copies from one layout to the other, a tile at a time through registers.

batch_first <-> batch_last: for features by lanes: for samples by lanes: transpose
blocked_1 <-> batch_last: for blocks, pixels, channels by lanes: for samples by lanes: transpose
to or from blocks: for all other axes: for neighbours in the source by lanes: transpose

Padding is done on the way: what lies inside is copied so, and zeros are stored around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from graphc.ir.graph import Graph
from graphc.ir.index import Index, Variable, index
from graphc.ir.layouts import BATCH_LAST, BATCH_PADDING, BLOCK, IMAGES, ROW_MAJOR
from graphc.ir.types import N, TensorType
from graphc.loops.definition import Axis, Definition
from graphc.loops.language import (
    BATCH,
    Kernel,
    Literal,
    Read,
    Statement,
    Transpose,
    loop,
    substitute,
)
from graphc.loops.memory import PADDED, Buffer, Stride
from graphc.loops.schedule import Machine
from graphc.loops.tasks import spread

FEW_COLUMNS = 4
ROW, COLUMN = Variable("row"), Variable("column")


def moves_batch(body: Graph) -> bool:
    """Whether `body` only moves the batch of an input, in elements a tile can hold."""
    (output,) = body.outputs[:1]
    alone = (
        len(body.outputs) == 1 and output.op.name == "relayout" and output.inputs[0] in body.inputs
    )
    if not alone or output.tensor.dtype.itemsize < 4:
        return False
    layouts = {output.tensor.layout, output.inputs[0].tensor.layout}
    return BATCH_LAST in layouts and layouts & {ROW_MAJOR, IMAGES} != set()


def batch_kernel(body: Graph, machine: Machine) -> Kernel:
    """The kernel of a body for which `moves_batch` holds."""
    output = body.outputs[0]
    types = output.inputs[0].tensor, output.tensor
    lanes = min(machine.lanes(output.tensor.dtype.itemsize), BATCH_PADDING)
    moved = _blocks if any(type.layout == IMAGES for type in types) else _features
    source, target, statements = moved(*types, lanes)
    return Kernel(
        body.name,
        (source, target),
        (target,),
        statements,
        (f"relayout to {output.tensor.layout}",),
        f"tiles {lanes} x {lanes}",
    )


Moved = tuple[Buffer, Buffer, tuple[Statement, ...]]


def _features(read: TensorType, written: TensorType, lanes: int) -> Moved:
    """Rows of features to lanes of samples, or back."""
    count = math.prod(d for d in written.shape if isinstance(d, int))
    source, target = _side("in0", read, (count,), (1,)), _side("out0", written, (count,), (1,))
    whole, rest = divmod(count, lanes)
    statements: list[Statement] = []
    if whole:
        f = Variable("f", whole)
        tiles = _samples(source, target, (index(f) * lanes,), lanes, lanes)
        statements.append(loop(f, whole, "parallel", tiles))
    if rest:
        statements.append(_samples(source, target, (index(whole * lanes),), rest, lanes))
    return source, target, tuple(statements)


def _blocks(read: TensorType, written: TensorType, lanes: int) -> Moved:
    """Blocks of channels to lanes of samples, or back: some channels of a pixel at a time."""
    channels, *size = (d for d in written.shape if isinstance(d, int))
    pixels = math.prod(size)
    extents = channels // BLOCK, pixels, BLOCK
    steps = {IMAGES: (pixels * BLOCK, BLOCK, 1), BATCH_LAST: (pixels * BLOCK, 1, pixels)}
    source = _side("in0", read, extents, steps[read.layout])
    target = _side("out0", written, extents, steps[written.layout])
    counts = channels // BLOCK, pixels, BLOCK // lanes
    b, p, part = map(Variable, ("b", "p", "part"), counts)
    tiles = _samples(source, target, (index(b), index(p), index(part) * lanes), lanes, lanes)
    loops = list(zip((b, p, part), map(index, counts), strict=True))
    return source, target, (spread(loops, (tiles,), channels * pixels * BATCH_PADDING),)


def _side(name: str, type: TensorType, extents: tuple[int, ...], steps: tuple[int, ...]) -> Buffer:
    """The buffer of a tensor seen as [N, *extents], neighbours along them `steps` apart."""
    last = type.layout == BATCH_LAST
    samples = Stride(1) if last else Stride(math.prod(extents))
    strides = (samples, *(Stride(0, step) if last else Stride(step) for step in steps))
    return Buffer(name, type.dtype, (N, *extents), strides, batch_last=last)


def _samples(
    source: Buffer, target: Buffer, feature: tuple[Index, ...], features: int, lanes: int
) -> Statement:
    """Tiles of samples x features; samples lie side by side in one of the two."""
    first = index(Variable("no")) * lanes
    gathers = target.batch_last
    sample, other = (ROW, COLUMN) if gathers else (COLUMN, ROW)
    place = (first + index(sample), *feature[:-1], feature[-1] + index(other))
    counts = (lanes, features) if gathers else (features, lanes)
    limit = index(BATCH) - first
    tile = Transpose(target, place, source, place, ROW, COLUMN, *counts, lanes, sample, limit)
    return loop(Variable("no"), index(PADDED) // lanes, "serial", tile)


def tiles(definition: Definition, machine: Machine) -> tuple[Statement, ...] | None:
    """The loops of a copy whose neighbours in the source are not those in the target; None if it
    is no such copy, or short along one of them.
    """
    if definition.combine is not None or len(definition.outputs) != 1:
        return None
    (output,) = definition.outputs
    read, size = output.value, output.buffer.dtype.itemsize
    if not isinstance(read, Read) or read.bounds or size < 4 or output.buffer.batch_last:
        return None
    lanes = machine.lanes(size)
    rows = _neighbours(definition, output.buffer, output.indices)
    columns = _neighbours(definition, read.buffer, read.indices)
    if rows is None or columns is None or rows == columns:
        return None
    if min(_extent(rows), _extent(columns)) < FEW_COLUMNS:
        return None
    if max(_extent(rows), _extent(columns)) < BLOCK:
        return None
    return tuple(
        _nest(definition, read, rows, columns, row, column, lanes)
        for row in _cuts(_extent(rows), lanes)
        for column in _cuts(_extent(columns), lanes)
    )


def split_padding(definition: Definition) -> tuple[Definition, ...] | None:
    """A padded copy as a copy of what is inside, then boxes of zeros around it; None if it is none.

    for y < 6: out[y] = in[y - 1] if inside  ->  for y < 4: out[y + 1] = in[y]; out[0] = out[5] = 0
    """
    if definition.combine is not None or len(definition.outputs) != 1:
        return None
    (output,) = definition.outputs
    read = output.value
    if not isinstance(read, Read) or not read.bounds:
        return None
    around: list[Definition] = []
    inside = replace(definition, outputs=(replace(output, value=replace(read, bounds=())),))
    zero = Literal(0.0 if read.dtype.is_float else 0, read.dtype)
    outside = replace(definition, outputs=(replace(output, value=zero),))
    for bound in read.bounds:
        axis = next((a for a in inside.axes if bound.value.without(a.variable).is_constant), None)
        if axis is None or axis.is_batch or bound.value.coefficient(axis.variable) != 1:
            return None
        extent = _extent(axis)
        low = max(bound.low - bound.value.constant, 0)
        high = extent if bound.high is None else min(bound.high - bound.value.constant, extent)
        if not low < high:
            return None
        around += [
            _only(outside, axis, *part) for part in ((0, low), (high, extent)) if part[0] < part[1]
        ]
        inside, outside = _only(inside, axis, low, high), _only(outside, axis, low, high)
    return inside, *around


def _only(definition: Definition, axis: Axis, low: int, high: int) -> Definition:
    """A definition's part from `low` to `high` along an axis."""
    if high - low == _extent(axis):
        return definition
    (output,) = definition.outputs
    part = Variable(axis.variable.name, high - low)
    place = {axis.variable: index(part) + low if high - low > 1 else index(low)}
    value = substitute(output.value, place)
    indices = tuple(i.substitute(place) for i in output.indices)
    axes = tuple(Axis(part, high - low) if a == axis else a for a in definition.axes)
    return replace(
        definition,
        axes=tuple(a for a in axes if a.extent != 1),
        outputs=(replace(output, indices=indices, value=value),),
    )


def _extent(axis: Axis) -> int:
    assert isinstance(axis.extent, int)
    return axis.extent


def _neighbours(definition: Definition, buffer: Buffer, indices: Sequence[Index]) -> Axis | None:
    """The axis whose steps are neighbours in a buffer."""
    fixed, padded = buffer.offset(tuple(indices))
    if padded.terms or any(not isinstance(atom, Variable) for atom, _ in fixed.terms):
        return None
    return next(
        (a for a in definition.axes if not a.is_batch and fixed.coefficient(a.variable) == 1), None
    )


def _cuts(extent: int, lanes: int) -> list[tuple[int, int, int]]:
    """(first, tiles, length of each) of whole tiles and of the rest."""
    whole, rest = divmod(extent, lanes)
    found = [(0, whole, lanes)] if whole else []
    return found + ([(whole * lanes, 1, rest)] if rest else [])


def _nest(
    definition: Definition,
    read: Read,
    rows: Axis,
    columns: Axis,
    row: tuple[int, int, int],
    column: tuple[int, int, int],
    lanes: int,
) -> Statement:
    (output,) = definition.outputs
    outer: list[tuple[Variable, Index]] = []
    place: dict[Variable, Index] = {}
    for axis in definition.axes:
        if axis not in (rows, columns):
            extent = index(BATCH) if axis.is_batch else index(_extent(axis))
            outer.append((axis.variable, extent))
            continue
        mark = ROW if axis == rows else COLUMN
        first, count, length = row if axis == rows else column
        block = Variable(f"{axis.variable.name}o", count)
        place[axis.variable] = index(block) * length + index(mark) + first
        if count > 1:
            outer.append((block, index(count)))
    tile: Statement = Transpose(
        output.buffer,
        tuple(i.substitute(place) for i in output.indices),
        read.buffer,
        tuple(i.substitute(place) for i in read.indices),
        ROW,
        COLUMN,
        row[2],
        column[2],
        lanes,
    )
    work = math.prod(_extent(a) for a in definition.axes if not a.is_batch)
    return spread(outer, (tile,), work)
