"""Choosing how a definition runs: the vector axis, the register block, and in which order the
loops stand.

One cost model serves every kernel. A register block of T accumulators costs max(T/2, 4, L/2) + L/8
+ 1 cycles a step: two fused multiply-adds or loads a cycle, a latency of four, loads that do not
overlap, one for the loop; L counts the loads of the block. A cache line that a step needs and
that the first cache no longer holds costs a quarter of a cycle. Blocks that leave fewer than
`ENOUGH_TASKS` tasks for the threads cost more. The vector axis is the one along which reads and
writes are contiguous or constant. Figures and sources: docs/kernels.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphc.ir.index import Index, Variable
from graphc.loops.definition import ACCUMULATOR, Axis, Definition
from graphc.loops.language import Expression, Scalar, parts, reads
from graphc.loops.memory import Buffer
from graphc.loops.rows import RowDefinition
from graphc.ops.op import Bound

LARGE_BATCH = 64
GATHER_COST = 14.0
TILES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14)
WIDTHS = (1, 2, 3, 4, 6, 8)
PLAIN_BLOCK = 4
ENOUGH_TASKS = 6
SAMPLES_OF_A_BLOCK = 4
LINE = 64
FIRST_CACHE = 24 << 10  # bytes of it that a block's operand may fill
LINE_COST = 0.25


@dataclass(frozen=True)
class Machine:
    """What the schedules need to know of a processor: bytes of a vector register and how many
    there are; whether one instruction multiplies pairs of bf16 and adds them to f32.
    """

    vector_bytes: int
    registers: int
    pairs: bool = False

    def lanes(self, itemsize: int) -> int:
        """Elements of a vector."""
        return self.vector_bytes // itemsize


@dataclass(frozen=True)
class Schedule:
    """The choice.

    vector: the axis that runs in lanes (None: scalar code). vectors: how many vectors of it a
    block holds. tiles: block extents of other output axes. order: the output axes, outermost loop
    first; () leaves them as they come. pieces: how many numbers of which summed axes are added at a
    time, before partial sums wait in the result.
    """

    vector: Axis | None
    lanes: int
    vectors: int
    tiles: tuple[tuple[Axis, int], ...]
    order: tuple[Axis, ...] = ()
    pieces: tuple[tuple[Axis, int], ...] = ()

    def tile(self, axis: Axis) -> int:
        """The block extent along an output axis."""
        return next((t for a, t in self.tiles if a == axis), 1)

    def __str__(self) -> str:
        if self.vector is None:
            return "scalar"
        block = [f"{t} {a.variable}" for a, t in self.tiles if t > 1]
        vector = (
            f"{self.vectors} x {self.lanes} {self.vector.variable}"
            if self.vectors > 1
            else (f"{self.lanes} {self.vector.variable}")
        )
        sums = " x ".join(f"{size} {a.variable}" for a, size in self.pieces)
        return "block " + " x ".join([*block, vector]) + (f", sums of {sums}" if sums else "")


@dataclass(frozen=True)
class _Access:
    """One read or write, as the cost model sees it."""

    buffer: Buffer
    indices: tuple[Index, ...]
    bounds: tuple[Bound, ...] = ()

    @cached_property
    def variables(self) -> frozenset[Variable]:
        return frozenset(v for i in self.indices for v in i.variables)

    @cached_property
    def _strides(self) -> dict[Variable, int | None]:
        return {}

    def lane_stride(self, variable: Variable) -> int | None:
        """Elements from lane to lane; None if it is not a fixed number."""
        if variable not in self._strides:
            self._strides[variable] = self._lane_stride(variable)
        return self._strides[variable]

    def _lane_stride(self, variable: Variable) -> int | None:
        if any(not i.is_linear_in(variable) for i in self.indices):
            return None
        if any(not b.value.is_linear_in(variable) for b in self.bounds):
            return None
        fixed, padded = self.buffer.offset(self.indices)
        if not padded.is_linear_in(variable) or padded.coefficient(variable):
            return None
        return fixed.coefficient(variable)

    def cost(self, variable: Variable) -> float:
        stride = self.lane_stride(variable)
        return {0: 0.5, 1: 1.0}.get(GATHER_COST if stride is None else stride, GATHER_COST)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Memory:
    """What blocks fetch from behind the first cache. summed: the axes of the sum, innermost last;
    none if it is not asked about.
    """

    lanes: int
    summed: tuple[Axis, ...]

    def far_lines(self, access: _Access, spans: Mapping[Axis, int]) -> float:
        """Cache lines a step that a block reads through `access`, if it reads more in all than the
        first cache holds.
        """
        if not self.summed:
            return 0.0
        size = access.buffer.dtype.itemsize
        lines = math.prod(self._lines(access, axis, count, size) for axis, count in spans.items())
        inner = access.lane_stride(self.summed[-1].variable)
        if inner is not None:
            lines *= min(1.0, abs(inner) * size / LINE)
        steps = math.prod(_assumed(a, False) for a in self.summed if a.variable in access.variables)
        return lines if lines * steps * LINE > FIRST_CACHE else 0.0

    def _lines(self, access: _Access, axis: Axis, count: int, size: int) -> float:
        """How many lines `count` numbers of an axis lie in."""
        stride = access.lane_stride(axis.variable)
        reach = count * size * (LINE if stride is None else abs(stride))
        return max(1.0, min(count, reach / LINE))


def choose(definition: Definition, machine: Machine) -> Schedule:
    """The schedule with the least estimated time."""
    inner = _accesses([definition.term]) if definition.term is not None else []
    values = [o.value for o in definition.outputs]
    outer = [a for a in _accesses(values) if a.buffer.name != ACCUMULATOR.name]
    stores = [_Access(o.buffer, o.indices) for o in definition.outputs]
    widest = max(b.dtype.itemsize for b in definition.buffers)
    lanes = machine.lanes(8 if widest == 8 and _computes_in_doubles(definition) else 4)
    guarded = guard_variables(definition)
    vector = _vector_axis(definition, inner, outer, stores, lanes, guarded)
    if vector is None:
        return Schedule(None, 1, 1, ())
    if definition.combine is None:
        return Schedule(vector, lanes, 1, ())
    vectors, tiles = _block(definition, inner, vector, lanes, machine.registers, guarded)
    return Schedule(vector, lanes, vectors, tiles)


def choose_lanes(definition: RowDefinition, machine: Machine) -> Schedule:
    """What of a kernel over rows runs in lanes: rows, or the elements of each."""
    widest = max(b.dtype.itemsize for b in definition.buffers)
    lanes = machine.lanes(8 if widest == 8 and _computes_in_doubles(definition) else 4)
    accesses = _accesses(definition.expressions)
    accesses += [_Access(o.buffer, o.indices) for o in definition.outputs]
    last = any(b.batch_last for b in definition.buffers)
    best: tuple[float, Axis] | None = None
    for axis in (*definition.axes, *definition.reduced):
        extent = _assumed(axis, last)
        cost = sum(a.cost(axis.variable) for a in accesses if a.variables)
        cost *= math.ceil(extent / lanes) * lanes / extent
        if extent > 1 and (best is None or cost < best[0]):
            best = (cost, axis)
    if best is None or best[0] > lanes * len(accesses):
        return Schedule(None, 1, 1, ())
    return Schedule(best[1], lanes, 1, ())


def guard_variables(definition: Definition) -> frozenset[Variable]:
    """Variables of a contraction's bounds: they stay plain loops, so that bounds become loop
    limits.
    """
    if not definition.is_contraction or definition.term is None:
        return frozenset()
    return frozenset(v for r in reads(definition.term) for b in r.bounds for v in b.value.variables)


def _computes_in_doubles(definition: Definition | RowDefinition) -> bool:
    return any(o.buffer.dtype.value in ("float64", "int64") for o in definition.outputs)


def _accesses(expressions: Iterable[Expression]) -> list[_Access]:
    found: dict[_Access, None] = {}
    for e in expressions:
        for read in reads(e):
            found[_Access(read.buffer, read.indices, read.bounds)] = None
        for bounds in _within(e):
            found[_Access(Buffer("", ACCUMULATOR.dtype, (), ()), (), bounds)] = None
    return list(found)


def _within(expression: Expression) -> list[tuple[Bound, ...]]:
    """The conditions that are part of a value."""
    scalars = (e for e in parts(expression) if isinstance(e, Scalar))
    return [e.bounds for e in scalars if e.function == "within"]


def _assumed(axis: Axis, last: bool) -> int:
    """Extent of an axis for the cost model; the batch is large where the batch lies innermost,
    else 1.
    """
    return axis.extent if isinstance(axis.extent, int) else LARGE_BATCH if last else 1


def _vector_axis(
    definition: Definition,
    inner: Sequence[_Access],
    outer: Sequence[_Access],
    stores: Sequence[_Access],
    lanes: int,
    guarded: frozenset[Variable],
) -> Axis | None:
    last = any(b.batch_last for b in definition.buffers)
    steps = math.prod(_assumed(a, last) for a in definition.reduced)
    best: tuple[float, Axis] | None = None
    for axis in (*definition.axes, *definition.reduced):
        extent = _assumed(axis, last)
        if axis.variable in guarded or extent < 2:
            continue
        wasted = math.ceil(extent / lanes) * lanes / extent
        cost = sum(a.cost(axis.variable) for a in inner) * steps
        finish = sum(a.cost(axis.variable) for a in (*outer, *stores))
        if axis in definition.reduced:
            cost = cost * wasted / lanes + 8.0 + 0.5 * len([*outer, *stores])
        else:
            cost = (cost + finish) * wasted / lanes
        if best is None or cost < best[0] * 0.999:
            best = (cost, axis)
    scalar = sum(0.5 for _ in inner) * steps + sum(1.0 for _ in (*outer, *stores))
    return best[1] if best is not None and best[0] < scalar * 2 else None


def _block(
    definition: Definition,
    inner: Sequence[_Access],
    vector: Axis,
    lanes: int,
    registers: int,
    guarded: frozenset[Variable],
) -> tuple[int, tuple[tuple[Axis, int], ...]]:
    """Vectors and tiles of the register block with the least cost per output."""
    last = any(b.batch_last for b in definition.inputs)
    in_lanes = vector in definition.reduced
    count = 1 if in_lanes else math.ceil(_assumed(vector, last) / lanes)
    limit = registers if definition.is_contraction else PLAIN_BLOCK + 1
    widths = [1] if in_lanes else [v for v in WIDTHS if v <= count]
    tasks = math.prod(_assumed(a, last) for a in definition.axes if a != vector) * count
    reused = [
        a
        for a in definition.axes
        if a != vector
        and not a.is_batch
        and a.variable not in guarded
        and any(a.variable not in access.variables for access in inner)
    ]
    if definition.is_contraction and not last and len(reused) < 2:
        # Few samples, but nothing else to read weights once for.
        reused += [a for a in definition.axes if a.is_batch and a != vector]
    if not reused:
        reused = [
            a
            for a in definition.axes
            if a != vector and not a.is_batch and a.variable not in guarded
        ][-1:]
    # The block's cost depends on which axes a read moves along, not on the axis itself: among
    # equals, the one whose steps are the shortest wins.
    reused.sort(key=lambda a: _shortest_step(a, inner))
    memory = _Memory(lanes, definition.reduced if definition.is_contraction and not last else ())
    best: tuple[float, int, tuple[tuple[Axis, int], ...]] | None = None
    for first in range(max(1, len(reused))):
        for second in range(first + 1, max(2, len(reused) + 1)):
            pair = [reused[k] for k in (first, second) if k < len(reused)]
            for width in widths:
                # Among equal blocks of a contraction the one that is long along the first axis; to
                # lanes of samples all axes are alike.
                for tiles in sorted(_products(pair), reverse=bool(memory.summed)):
                    cost = _block_cost(
                        inner, pair, tiles, vector, width, count, limit, in_lanes, memory
                    )
                    if cost is not None:
                        spread = max(1.0, tasks / (math.prod(tiles) * width))
                        cost /= math.prod(map(_blocked_extent, pair)) * min(spread, ENOUGH_TASKS)
                        cost *= 1 + 0.002 * sum(t > 1 for t in tiles)
                    if cost is not None and (best is None or cost < best[0] * 0.999):
                        best = (cost, width, tuple(zip(pair, tiles, strict=True)))
    assert best is not None
    return best[1], best[2]


def _shortest_step(axis: Axis, inner: Sequence[_Access]) -> int:
    """The fewest elements from one index of `axis` to the next in what a block reads."""
    steps = [abs(step) for a in inner if (step := a.lane_stride(axis.variable))]
    return min(steps, default=0)


def _products(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    choices: list[tuple[int, ...]] = [()]
    for axis in axes:
        choices = [(*c, t) for c in choices for t in TILES if t <= _blocked_extent(axis)]
    return choices


def _blocked_extent(axis: Axis) -> int:
    """Extent of an axis that a block may cover several of."""
    return axis.extent if isinstance(axis.extent, int) else SAMPLES_OF_A_BLOCK


def _block_cost(
    inner: Sequence[_Access],
    axes: Sequence[Axis],
    tiles: tuple[int, ...],
    vector: Axis,
    width: int,
    count: int,
    registers: int,
    in_lanes: bool,
    memory: _Memory,
) -> float | None:
    """Cycles per output element along the blocked axes, edges included; None if the block does
    not fit.
    """
    if not _fits(inner, axes, tiles, vector, width, registers, in_lanes):
        return None
    total = 0.0
    for sizes, times in _regions(axes, tiles):
        for w, blocks in ((width, count // width), (count % width, 1 if count % width else 0)):
            if blocks:
                total += times * blocks * _step(inner, axes, sizes, vector, w, memory)
    return total


def _regions(axes: Sequence[Axis], tiles: tuple[int, ...]) -> list[tuple[tuple[int, ...], int]]:
    found: list[tuple[tuple[int, ...], int]] = [((), 1)]
    for axis, tile in zip(axes, tiles, strict=True):
        whole, rest = divmod(_blocked_extent(axis), tile)
        found = [
            ((*sizes, size), times * many)
            for sizes, times in found
            for size, many in ((tile, whole), (rest, 1))
            if size and many
        ]
    return found


def _loads(
    access: _Access, axes: Sequence[Axis], sizes: tuple[int, ...], vector: Axis, width: int
) -> int:
    loads = width if vector.variable in access.variables else 1
    for axis, size in zip(axes, sizes, strict=True):
        if axis.variable in access.variables:
            loads *= size
    return loads


def _step(
    inner: Sequence[_Access],
    axes: Sequence[Axis],
    sizes: tuple[int, ...],
    vector: Axis,
    width: int,
    memory: _Memory,
) -> float:
    block = math.prod(sizes) * width
    loads = sum(_loads(a, axes, sizes, vector, width) for a in inner)
    spans = dict(zip(axes, sizes, strict=True)) | {vector: width * memory.lanes}
    far = sum(memory.far_lines(a, spans) for a in inner)
    return max(block / 2, 4.0, loads / 2) + loads / 8 + 1.0 + far * LINE_COST


def _fits(
    inner: Sequence[_Access],
    axes: Sequence[Axis],
    tiles: tuple[int, ...],
    vector: Axis,
    width: int,
    registers: int,
    in_lanes: bool,
) -> bool:
    """Whether a block stays in registers: accumulators, the loads that wait in registers while the
    block's inner axis is gone along again and again, and one that passes by.
    """
    block = math.prod(tiles) * width
    if block == 1:
        return True
    going = axes[-1].variable if in_lanes else vector.variable
    held = max(
        (_loads(a, axes, tiles, vector, width) for a in inner if going in a.variables), default=0
    )
    return block + held * (len(inner) > 1) + 1 <= registers
