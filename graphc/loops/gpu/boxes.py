"""Operands of a product whose pieces the tensor copy engine can bring as they are.

An operand is a plain read of memory. It lies along its innermost axis: that of what is summed, or
of rows or columns (here: its own). Lines of 128 bytes of that axis arrive in shared memory,

    [stage, own, line]            a line for each row or column, of what is summed
    [stage, part, summed, line]   a line for each number summed, of so many neighbouring rows

Bounds need no code: beyond the ends of an array the engine brings zeros.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import Batch
from graphc.loops.gpu.places import Span, blocks_for, own_array, taken_apart
from graphc.loops.gpu.tensor_maps import LINE, Dimension, Image, TensorMap, Tiled
from graphc.loops.gpu.tiling import Factor
from graphc.loops.language import STAGE, CopyTile, Read, Statement, loop
from graphc.loops.memory import Buffer

MOST_AXES = 5
MOST_BOX = 256  # indices along an axis of a box, those that strides leave out included
MOST_STRIDE = 8
MOST_FILLED = 1.5  # numbers of lines that are filled up, for each that there is
ACCESS = 16  # bytes: steps along axes are multiples
# How far the first and last pixel may lie from the edges of an image, by its axes of pixels.
CORNERS = {1: 1 << 15, 2: 1 << 7, 3: 1 << 4}


@dataclass(frozen=True)
class BoxSteps:
    """What is summed, a box of it a step. box: how much of each of `spans`, outermost first."""

    spans: tuple[Span, ...]
    box: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Numbers of a step."""
        return math.prod(self.box)

    @cached_property
    def _chunks(self) -> tuple[Index, ...]:
        return tuple(blocks_for(s.end, b) for s, b in zip(self.spans, self.box, strict=True))

    @cached_property
    def number(self) -> Index:
        """How many steps there are."""
        outer, *inner = self._chunks
        return outer * math.prod(chunks.constant for chunks in inner)

    @cached_property
    def variable(self) -> Variable:
        """The step under way."""
        return Variable("step", self.number.constant if self.number.is_constant else None)

    def start(self) -> dict[Variable, Index]:
        """Where the step under way begins."""
        flat, found = index(self.variable), {}
        for k, span in reversed(list(enumerate(self.spans))):
            if k == 0:
                found[span.variable] = flat * self.box[0]
            else:
                chunks = self._chunks[k].constant
                found[span.variable] = flat % chunks * self.box[k]
                flat = flat // chunks
        return found

    def waste(self) -> float:
        """What is multiplied for each number that there is, for a usual batch."""
        pairs = zip(self.spans, self.box, strict=True)
        return math.prod(-(-s.usual // b) * b / s.usual for s, b in pairs)

    def overrun(self) -> Iterator[Span]:
        """Spans beyond whose ends the last step reads."""
        for span, box in zip(self.spans, self.box, strict=True):
            if box > 1 and (span.samples or span.extent % box):
                yield span


@dataclass(frozen=True)
class Axis:
    """An axis of memory, and the index along it. walked: the span that moves the index, by `stride`
    a step, of those that a box may go along.
    """

    dimension: Dimension
    at: Index
    walked: Span | None
    stride: int = 1

    def ends_with(self, span: Span) -> bool:
        """Whether what lies beyond the end of `span` is beyond that of memory."""
        same = (self.dimension.extent, self.dimension.samples) == (span.extent, span.samples)
        return same and self.at == index(span.variable)


@dataclass(frozen=True)
class Operand:
    """One operand. inner: the span that it lies along; along_summed: whether that is summed."""

    name: str
    read: Read
    axes: tuple[Axis, ...]
    spans: tuple[Span, ...]
    inner: Span
    along_summed: bool

    @property
    def line(self) -> int:
        """Numbers of a line."""
        return LINE // self.read.dtype.itemsize

    @property
    def filled(self) -> tuple[Span, ...]:
        """Rows or columns with the last of several spans filled up to whole lines, where it lies
        along them.
        """
        *outer, last = self.spans
        if self.along_summed or not outer:
            return self.spans
        return (*outer, replace(last, extent=-(-last.extent // self.line) * self.line))

    def is_zero_beyond(self, span: Span) -> bool:
        """Whether zeros come for what is beyond the end of `span`."""
        return any(axis.walked == span and axis.ends_with(span) for axis in self.axes)

    def reaches(self, steps: BoxSteps) -> bool:
        """Whether a step is not more than a box can be."""
        boxes = dict(zip(steps.spans, steps.box, strict=True))
        return self.along_summed or all(
            a.stride * boxes.get(a.walked, 1) <= MOST_BOX for a in self.axes if a.walked is not None
        )

    def array(self, extent: int, steps: BoxSteps, stages: int) -> Buffer:
        """Its pieces in shared memory, `extent` rows or columns each."""
        lines = (extent,) if self.along_summed else (extent // self.line, steps.depth)
        shape = (stages, *lines, self.line)
        return replace(own_array(self.name, self.read.dtype, shape, shared=True), swizzled=True)

    def place(self, own: Index, summed: Index) -> tuple[Index, ...]:
        """Where a number of a piece lies in the array."""
        if self.along_summed:
            return (index(STAGE), own, summed)
        return (index(STAGE), own // self.line, summed, own % self.line)

    def load(
        self,
        array: Buffer,
        tile: Index,
        extent: int,
        steps: BoxSteps,
        groups: Mapping[Variable, Index],
    ) -> Statement | None:
        """The copies that bring a piece of a tile for the step under way; None if they cannot."""
        where = {**groups, **steps.start()}
        if self.along_summed:
            first, (outer, *others) = tile * extent, self.spans
            if others:
                found = self._image(first, extent, where)
            else:
                place = {**where, outer.variable: first}
                found = self._tiled({outer: extent, self.inner: self.line}, place)
            return None if found is None else self._copy(array, (), *found)
        parts = extent // self.line
        part = Variable("part", parts)
        lines = tile * parts + index(part)
        place = {**where, **taken_apart(lines, self.filled, self.line)}
        walks = {span: box for span, box in zip(steps.spans, steps.box, strict=True) if box > 1}
        found = self._tiled({**walks, self.inner: self.line}, place)
        if found is None:
            return None
        return loop(part, parts, "unroll", self._copy(array, (index(part),), *found))

    def _copy(
        self, array: Buffer, at: tuple[Index, ...], map: TensorMap, coordinates: tuple[Index, ...]
    ) -> Statement:
        return CopyTile(array, (index(STAGE), *at), self.read.buffer, map, coordinates)

    def _tiled(
        self, box: Mapping[Span, int], place: Mapping[Variable, Index]
    ) -> tuple[TensorMap, tuple[Index, ...]] | None:
        """A box that goes along some spans, in their order, from a place on."""
        if [a.walked for a in self.axes if a.walked in box] != list(box):
            return None
        extents = [1 if a.walked is None else box.get(a.walked, 1) for a in self.axes]
        if any(e * a.stride > MOST_BOX for e, a in zip(extents, self.axes, strict=True)):
            return None
        strides = tuple(a.stride if e > 1 else 1 for e, a in zip(extents, self.axes, strict=True))
        map = Tiled(tuple(a.dimension for a in self.axes), tuple(extents), strides)
        return map, tuple(a.at.substitute(place) for a in self.axes)

    def _image(
        self, first: Index, pixels: int, place: Mapping[Variable, Index]
    ) -> tuple[TensorMap, tuple[Index, ...]] | None:
        """The pixels that a tap reads for results in the order of this operand's spans. Along an
        axis that none of them walks there is one result, and the tap says where.
        """
        outer, *walks, channels = self.axes
        spans = tuple(a.walked for a in (outer, *walks) if a.walked is not None)
        if spans != self.spans or not walks or channels.walked != self.inner:
            return None
        if outer.at != index(self.spans[0].variable):
            return None
        own = {s.variable: Index() for s in self.spans}
        taps = [a.at.substitute(own) for a in walks]
        ranges = [tap.bounds() for tap in taps]
        padding = tuple(max(0, -low) for low, _ in ranges if low is not None)
        if len(padding) < len(walks):
            return None
        map = Image(
            tuple(a.dimension for a in self.axes),
            tuple(1 if a.walked is None else a.walked.extent for a in walks),
            tuple(a.stride for a in walks),
            padding,
            pixels,
            self.line,
        )
        most = CORNERS[len(walks)]
        beside = all(-most <= corner < most for side in map.corners for corner in side)
        near = all(
            high is not None and high + before < 2 * most
            for (_, high), before in zip(ranges, padding, strict=True)
        )
        if not (beside and near):
            return None
        taps = [tap.substitute(place) + p for tap, p in zip(taps, padding, strict=True)]
        return map, (first, *taps, channels.at.substitute(place))


def operand(
    name: str, factor: Factor, summed: Sequence[Span], groups: Sequence[Span]
) -> Operand | None:
    """A factor as one whose pieces come as boxes; None if it is not of that kind."""
    read = factor.value
    if not isinstance(read, Read):
        return None
    offset, _ = read.buffer.offset(read.indices)
    inner = next((s for s in (*factor.spans, *summed) if offset.coefficient(s.variable) == 1), None)
    if inner is None:
        return None
    along_summed = inner in summed
    walked = (*factor.spans, inner) if along_summed else (*summed, inner)
    spans = (*factor.spans, *summed, *groups)
    axes = None if read.bounds else _axes_of_loops(read, walked, spans)
    axes = axes or _axes_of_buffer(read, walked)
    if axes is None or len(axes) > MOST_AXES or axes[-1].walked != inner:
        return None
    *outer, last = axes
    size = read.dtype.itemsize
    if last.dimension.step != 1 or last.stride != 1:
        return None
    if any(a.dimension.step * size % ACCESS or a.stride > MOST_STRIDE for a in outer):
        return None
    found = Operand(name, read, axes, factor.spans, inner, along_summed)
    # Lines of one of several spans end with it: the next is another tap's.
    whole = inner == factor.spans[-1] and found.filled[-1].extent <= MOST_FILLED * inner.extent
    return found if along_summed or len(factor.spans) == 1 or whole else None


def _axes_of_loops(
    read: Read, walked: Sequence[Span], spans: Sequence[Span]
) -> tuple[Axis, ...] | None:
    """An axis for each loop that moves a read, outermost first: as long as the loop."""
    offset, _ = read.buffer.offset(read.indices)
    moving = {span.variable: span for span in spans}
    axes = []
    for atom, step in offset.terms:
        span = moving.get(atom) if isinstance(atom, Variable) else None
        if span is None or step < 0:
            return None
        dimension = Dimension(span.extent, step, span.samples)
        axes.append(Axis(dimension, index(span.variable), span if span in walked else None))
    if offset.constant or not axes:
        return None
    return tuple(sorted(axes, key=lambda axis: -axis.dimension.step))


def _axes_of_buffer(read: Read, walked: Sequence[Span]) -> tuple[Axis, ...] | None:
    """The axes of the buffer, so that what is beyond its bounds is beyond memory."""
    bounds, axes = list(read.bounds), []
    for extent, stride, at in zip(
        read.buffer.shape, read.buffer.strides, read.indices, strict=True
    ):
        if extent == 1 and at == Index():
            continue
        movers = [s for s in walked if s.variable in at.variables]
        mover = movers[0] if movers else None
        step = at.coefficient(mover.variable) if mover is not None else 1
        if len(movers) > 1 or step < 1 or (mover and not at.is_linear_in(mover.variable)):
            return None
        if isinstance(extent, Batch):
            if mover is None or at != index(mover.variable):
                return None
            axes.append(Axis(Dimension(1, stride.fixed, True), at, mover))
            continue
        stated = [b for b in bounds if (b.value, b.low, b.high) == (at, 0, extent)]
        low, high = at.bounds()
        if not stated and (low is None or high is None or low < 0 or high >= extent):
            return None
        bounds = [b for b in bounds if b not in stated]
        axes.append(Axis(Dimension(extent, stride.fixed), at, mover, step))
    found = [a.walked for a in axes if a.walked is not None]
    if bounds or not axes or len(found) > len(set(found)):
        return None
    return tuple(axes)
