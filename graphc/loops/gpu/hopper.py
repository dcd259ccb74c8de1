"""Products of matrices on Hopper processors: the tensor copy engine brings boxes of both operands,
groups of four warps multiply them from shared memory.

A block stays on its multiprocessor and computes one tile after the other; all loads run in one
pipeline, so that those of the next tile begin while results of the last are stored. This file says
which tiles, `boxes` what is copied. What does not come in boxes is left to `matrix`.

Results lie spread over the registers of a group of warps, two neighbours a thread. They go through
shared memory, some columns at a time, so that threads store whole lines of them, and read whole
lines of what else is computed from.

The tile is the one with the least cost: what the tiles of a multiprocessor multiply, by the share
of the tensor cores' rate that reading so many rows and columns from shared memory lets through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.gpu.boxes import BoxSteps, Operand, operand
from graphc.loops.gpu.device import GPU, WARP
from graphc.loops.gpu.fragments import (
    COLUMN,
    ROW,
    TARGET,
    WARPGROUP,
    WARPGROUP_THREADS,
    WarpgroupInstruction,
    lane_of,
)
from graphc.loops.gpu.matrix import PAIR, narrow
from graphc.loops.gpu.places import (
    BLOCK,
    THREAD,
    count,
    own_array,
    taken_apart,
    unrolled,
    where,
    with_lane,
)
from graphc.loops.gpu.pointwise import LANE, in_lanes, result_lanes
from graphc.loops.gpu.reduction import finish
from graphc.loops.gpu.tiling import Matrices, Tiles
from graphc.loops.language import (
    BATCH,
    Allocate,
    Literal,
    MultiplyShared,
    Pipeline,
    Read,
    Statement,
    Store,
    loop,
)

ARCHITECTURE = "sm_90a"
FEWEST_STAGES, MOST_STAGES = 3, 8
MOST_WASTE = 1.5  # products of zeros, with those of numbers, for each of these alone
MOST_DEPTH = 128  # numbers that a step sums
STEP_COST = 8  # of a step, in numbers summed: barriers
BARRIERS = 1 << 10  # bytes of shared memory that are for these
BATCHES = (32, 256)  # for which a tile is chosen
STAGED = 32  # columns of a group of warps whose results go through shared memory at a time
PADDING = 8  # numbers between their lines, so that eight rows of pairs meet no conflict


@dataclass(frozen=True)
class Tile:
    """Rows x columns of a block, of which each group of warps has an equal part. groups: down and
    across. share: of the tensor cores' rate.
    """

    rows: int
    columns: int
    groups: tuple[int, int]
    share: float

    @property
    def threads(self) -> int:
        """Those that multiply."""
        return self.groups[0] * self.groups[1] * WARPGROUP_THREADS

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns}"


TILES = (
    Tile(128, 256, (2, 1), 1.0),
    Tile(256, 128, (2, 1), 1.0),
    Tile(128, 192, (2, 1), 0.95),
    Tile(128, 128, (2, 1), 0.85),
    Tile(256, 64, (2, 1), 0.75),
    Tile(64, 256, (1, 2), 0.75),
    Tile(128, 64, (2, 1), 0.65),
    Tile(64, 128, (1, 1), 0.6),
    Tile(64, 64, (1, 1), 0.45),
    Tile(64, 32, (1, 1), 0.3),
)


def hopper(
    matrices: Matrices, gpu: GPU, operands: DType
) -> tuple[tuple[Statement, ...], str] | None:
    """The loops of a product whose operands come in boxes, and the choice made, in words; None if
    they do not, or if tiles would be mostly zeros.

    operands: what is multiplied, bf16, or f32 rounded to tf32.
    """
    if gpu.architecture != ARCHITECTURE:
        return None
    factors = (("left", narrow(matrices.left)), ("right", narrow(matrices.right)))
    left, right = (operand(n, f, matrices.summed, matrices.groups) for n, f in factors)
    if left is None or right is None:
        return None
    if operands is not DType.bf16 and not (left.along_summed and right.along_summed):
        return None
    found = [b for tile in TILES if (b := _builder(matrices, gpu, left, right, tile)) is not None]
    best = min(found, key=_Builder.cost, default=None)
    body = None if best is None else best.result()
    if best is None or body is None:
        return None
    words = f"{best.instruction.name}, tiles of {best.tile} x {best.steps.depth}"
    return body, f"{words}, {best.stages} stages"


def _builder(
    matrices: Matrices, gpu: GPU, left: Operand, right: Operand, tile: Tile
) -> _Builder | None:
    """A tile at work; None if lines do not fill it or no steps suit it."""
    sides = ((left, tile.rows), (right, tile.columns))
    if any(extent % each.line for each, extent in sides if not each.along_summed):
        return None
    most = _room(gpu, tile) // FEWEST_STAGES
    depth = min(MOST_DEPTH, most // ((tile.rows + tile.columns) * left.read.dtype.itemsize))
    steps = _steps(left, right, matrices, depth)
    return None if steps is None else _Builder(matrices, gpu, left, right, tile, steps)


def _room(gpu: GPU, tile: Tile) -> int:
    """Bytes of shared memory for operands."""
    return gpu.shared_bytes - BARRIERS - 4 * tile.rows * (tile.groups[1] * STAGED + PADDING)


def _steps(left: Operand, right: Operand, matrices: Matrices, depth: int) -> BoxSteps | None:
    """What is summed in a step: a line of an operand that lies along it, else the box of at most
    `depth` numbers that wastes least.
    """
    lines = {each.inner: each.line for each in (left, right) if each.along_summed}
    spans = matrices.summed
    boxes = [tuple(lines.get(span, 1) for span in spans)]
    if not lines:
        boxes = [box for d in range(32, depth + 1, 16) for box in _boxes(d, len(spans))]
    found = [BoxSteps(spans, box) for box in boxes if len(lines) < 2]
    found = [s for s in found if s.waste() <= MOST_WASTE and _ends_with_zeros(s, left, right)]
    found = [s for s in found if left.reaches(s) and right.reaches(s)]
    return min(found, key=lambda s: s.waste() * (1 + STEP_COST / s.depth), default=None)


def _boxes(depth: int, axes: int) -> list[tuple[int, ...]]:
    """All boxes of so many numbers."""
    if axes == 1:
        return [(depth,)]
    divisors = [d for d in range(1, depth + 1) if depth % d == 0]
    return [(*outer, d) for d in divisors for outer in _boxes(depth // d, axes - 1)]


def _ends_with_zeros(steps: BoxSteps, left: Operand, right: Operand) -> bool:
    """Whether what the last step reads beyond an end is multiplied by zeros."""
    return all(left.is_zero_beyond(span) or right.is_zero_beyond(span) for span in steps.overrun())


class _Builder:
    def __init__(
        self,
        matrices: Matrices,
        gpu: GPU,
        left: Operand,
        right: Operand,
        tile: Tile,
        steps: BoxSteps,
    ) -> None:
        self.matrices, self.gpu, self.tile, self.steps = matrices, gpu, tile, steps
        self.left, self.right = left, right
        down, across = tile.groups
        # What each group of warps has: so many instructions down, one across.
        self.instruction = WarpgroupInstruction(left.read.dtype, tile.columns // across)
        self.down = tile.rows // (down * self.instruction.m)
        size = (tile.rows + tile.columns) * steps.depth * left.read.dtype.itemsize
        self.stages = min(MOST_STAGES, _room(gpu, tile) // size)
        self.lefts = left.array(tile.rows, steps, self.stages)
        self.rights = right.array(tile.columns, steps, self.stages)
        fragments = (self.down, self.instruction.n // TARGET.columns, TARGET.elements)
        self.total = own_array("total", DType.f32, (tile.threads, *fragments))
        staged = (tile.rows, across * STAGED + PADDING)
        self.staged = own_array("staged", DType.f32, staged, shared=True)
        self.thread = Variable(THREAD, tile.threads)
        # Blocks take every so many-th tile.
        tiles = Tiles(matrices.groups, left.filled, right.filled, tile.rows, tile.columns)
        self.tiles = tiles.number
        self.block = Variable(BLOCK, gpu.multiprocessors)
        rounds = -(-self.tiles.constant // gpu.multiprocessors) if self.tiles.is_constant else None
        self.turn = Variable("turn", rounds)
        number = index(self.turn) * gpu.multiprocessors + index(self.block)
        self.groups, self.row, self.column = tiles.place(number)

    def cost(self) -> float:
        """What the tiles of a multiprocessor take, for a small and for a large batch."""
        tile, depth = self.tile, self.steps.depth + STEP_COST
        times = []
        for n in BATCHES:
            tiles, steps = (
                i.evaluate({BATCH: n}.__getitem__) for i in (self.tiles, self.steps.number)
            )
            each = -(-tiles // self.gpu.multiprocessors)
            times.append(each * tile.rows * tile.columns * steps * depth / tile.share)
        return math.prod(times)

    def result(self) -> tuple[Statement, ...] | None:
        tile, steps = self.tile, self.steps
        loads = (
            self.left.load(self.lefts, self.row, tile.rows, steps, self.groups),
            self.right.load(self.rights, self.column, tile.columns, steps, self.groups),
        )
        load = tuple(each for each in loads if each is not None)
        if len(load) < len(loads):
            return None
        body: tuple[Statement, ...] = (
            self._threads((self._cleared(),)),
            Pipeline(steps.variable, steps.number, self.stages, load, (self._multiplied(),)),
            self._finished(),
        )
        left = self.tiles - index(self.block) + (self.gpu.multiprocessors - 1)
        body = (loop(self.turn, left // self.gpu.multiprocessors, "serial", body),)
        for array in (self.total, self.staged, self.rights, self.lefts):
            body = (Allocate(array, body),)
        blocks = index(self.gpu.multiprocessors)
        return (loop(self.block, blocks, "block", body, high=(self.tiles,)),)

    def _threads(self, body: tuple[Statement, ...]) -> Statement:
        return loop(self.thread, self.tile.threads, "thread", body)

    def _cleared(self) -> Statement:
        _, *extents = self.total.shape
        every_one = [Variable(n, e) for n, e in zip("ije", extents, strict=True)]  # type: ignore[arg-type]
        at = (index(self.thread), *map(index, every_one))
        return unrolled(Store(self.total, at, Literal(0.0, DType.f32)), *every_one)

    def _multiplied(self) -> Statement:
        """The products of a step."""
        each = self.instruction
        k, i = Variable("k", self.steps.depth // each.k), Variable("i", self.down)
        group_row, group_column = self._group(index(WARPGROUP))
        row = (group_row * self.down + index(i)) * each.m + index(ROW)
        column = group_column * each.n + index(COLUMN)
        summed = index(k) * each.k
        multiply = MultiplyShared(
            each.name, self.total, (index(i),),
            self.lefts, self.left.place(row, summed + index(COLUMN)),
            self.rights, self.right.place(column, summed + index(ROW)),
        )  # fmt: skip
        return unrolled(multiply, k, i)

    def _group(self, number: Index) -> tuple[Index, Index]:
        """Where a group of warps stands among those of its block."""
        across = self.tile.groups[1]
        return number // across, number % across

    def _finished(self) -> Statement:
        """Every result that exists: from who holds it to shared memory, from there in whole lines
        to where it belongs.
        """
        part = Variable("part", self.instruction.n // STAGED)
        steps = (self._staged(index(part)), self._stored(index(part)))
        return unrolled(tuple(self._threads((step,)) for step in steps), part)

    def _staged(self, part: Index) -> Statement:
        """The results of so many columns of each group of warps."""
        i, j = Variable("i", self.down), Variable("j", STAGED // TARGET.columns)
        half = Variable("half", TARGET.elements // PAIR)
        group_row, group_column = self._group(index(self.thread) // WARPGROUP_THREADS)
        warp = index(self.thread) // WARP % (WARPGROUP_THREADS // WARP)
        down, across = TARGET.place(lane_of(self.thread), index(half) * PAIR)
        row = (group_row * self.down + index(i)) * self.instruction.m + warp * TARGET.rows + down
        column = group_column * STAGED + index(j) * TARGET.columns + across
        fragment = part * (STAGED // TARGET.columns) + index(j)
        held = (index(self.thread), index(i), fragment, index(half) * PAIR + index(LANE))
        store = Store(self.staged, (row, column + index(LANE)), Read(self.total, held))
        return unrolled(in_lanes(PAIR, (store,)), i, j, half)

    def _stored(self, part: Index) -> Statement:
        """What becomes of these results, by neighbours as one access moves them."""
        tile, definition = self.tile, self.matrices.definition
        left, right = self.left.filled, self.right.filled
        lanes = result_lanes(definition.outputs, self.right.spans)
        line = tile.groups[1] * STAGED // lanes
        turn = Variable("turn_of_rows", tile.rows * line // tile.threads)
        flat = index(turn) * tile.threads + index(self.thread)
        own_row, own_column = flat // line, flat % line * lanes
        column = own_column // STAGED * self.instruction.n + part * STAGED + own_column % STAGED
        row, unit = self.row * tile.rows + own_row, (self.column * tile.columns + column) // lanes
        place = {**self.groups, **taken_apart(row, left), **taken_apart(unit, right, lanes)}
        limits = [count(left) - row, count(right, lanes) - unit]
        for each in (self.left, self.right):
            if each.filled != each.spans:
                limits.append(each.inner.extent - place[each.inner.variable])
        lane = Index()
        if lanes > 1:
            lane, place = index(LANE), with_lane(place, right, LANE)
        results = finish(definition, place, Read(self.staged, (own_row, own_column + lane)))
        return unrolled(where(limits, in_lanes(lanes, results)), turn)
