"""Products of matrices on Hopper processors: the tensor copy engine brings boxes of both operands,
groups of four warps multiply them from shared memory.

A block stays on its multiprocessor and computes one tile after the other; all loads run in one
pipeline, so that those of the next tile begin while results of the last are stored. This file says
which tiles, `boxes` what is copied. What does not come in boxes is left to `matrix`.

The tile is the one with the least cost: what the tiles of a multiprocessor multiply, by the share
of the tensor cores' rate that reading so many rows and columns from shared memory lets through.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.gpu.boxes import Operand, Steps, operand
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
from graphc.loops.gpu.matrix import PAIR, finished_pair, narrow
from graphc.loops.gpu.places import BLOCK, THREAD, own_array, taken_apart, unrolled
from graphc.loops.gpu.product import times
from graphc.loops.gpu.tiling import Matrices, places_of
from graphc.loops.language import (
    Allocate,
    Literal,
    MultiplyShared,
    Pipeline,
    Statement,
    Store,
    loop,
)

ARCHITECTURE = "sm_90a"
FEWEST_STAGES, MOST_STAGES = 3, 8
MOST_WASTE = 1.5  # products of zeros, with those of numbers, for each of these alone
MOST_DEPTH = 128  # numbers that a step sums
STEP_COST = 8  # of a step, in numbers summed: barriers
BARRIERS = 1 << 10  # bytes of shared memory that are not for operands


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
    most = (gpu.shared_bytes - BARRIERS) // FEWEST_STAGES
    depth = min(MOST_DEPTH, most // ((tile.rows + tile.columns) * left.read.dtype.itemsize))
    steps = _steps(left, right, matrices, depth)
    return None if steps is None else _Builder(matrices, gpu, left, right, tile, steps)


def _steps(left: Operand, right: Operand, matrices: Matrices, depth: int) -> Steps | None:
    """What is summed in a step: a line of an operand that lies along it, else the box of at most
    `depth` numbers that wastes least.
    """
    lines = {each.inner: each.line for each in (left, right) if each.along_summed}
    spans = matrices.summed
    boxes = [tuple(lines.get(span, 1) for span in spans)]
    if not lines:
        boxes = [box for d in range(32, depth + 1, 16) for box in _boxes(d, len(spans))]
    found = [Steps(spans, box) for box in boxes if len(lines) < 2]
    found = [s for s in found if s.waste() <= MOST_WASTE and _ends_with_zeros(s, left, right)]
    return min(found, key=lambda s: s.waste() * (1 + STEP_COST / s.depth), default=None)


def _boxes(depth: int, axes: int) -> list[tuple[int, ...]]:
    """All boxes of so many numbers."""
    if axes == 1:
        return [(depth,)]
    divisors = [d for d in range(1, depth + 1) if depth % d == 0]
    return [(*outer, d) for d in divisors for outer in _boxes(depth // d, axes - 1)]


def _ends_with_zeros(steps: Steps, left: Operand, right: Operand) -> bool:
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
        steps: Steps,
    ) -> None:
        self.matrices, self.gpu, self.tile, self.steps = matrices, gpu, tile, steps
        self.left, self.right = left, right
        down, across = tile.groups
        # What each group of warps has: so many instructions down, one across.
        self.instruction = WarpgroupInstruction(left.read.dtype, tile.columns // across)
        self.down = tile.rows // (down * self.instruction.m)
        size = (tile.rows + tile.columns) * steps.depth * left.read.dtype.itemsize
        self.stages = min(MOST_STAGES, (gpu.shared_bytes - BARRIERS) // size)
        self.lefts = left.array(tile.rows, steps, self.stages)
        self.rights = right.array(tile.columns, steps, self.stages)
        fragments = (self.down, self.instruction.n // TARGET.columns, TARGET.elements)
        self.total = own_array("total", DType.f32, (tile.threads, *fragments))
        self.thread = Variable(THREAD, tile.threads)
        # Blocks take every so many-th tile.
        counts = matrices.blocks(tile.rows, tile.columns)
        self.tiles = times(times(counts[0], counts[1]), counts[2])
        self.block = Variable(BLOCK, gpu.multiprocessors)
        rounds = -(-self.tiles.constant // gpu.multiprocessors) if self.tiles.is_constant else None
        self.turn = Variable("turn", rounds)
        number = index(self.turn) * gpu.multiprocessors + index(self.block)
        spans = (matrices.groups, left.spans, right.spans)
        group, self.row, self.column = places_of(number, list(zip(spans, counts, strict=True)))
        self.groups = taken_apart(group, matrices.groups)

    def cost(self) -> float:
        """What the tiles of a multiprocessor take, for a usual batch."""
        tile = self.tile
        each = -(-self.matrices.usual_blocks(tile.rows, tile.columns) // self.gpu.multiprocessors)
        steps = self.steps.waste() * (1 + STEP_COST / self.steps.depth)
        return each * tile.rows * tile.columns * steps / tile.share

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
            self._threads((self._finished(),)),
        )
        left = self.tiles - index(self.block) + (self.gpu.multiprocessors - 1)
        body = (loop(self.turn, left // self.gpu.multiprocessors, "serial", body),)
        for array in (self.total, self.rights, self.lefts):
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
        """Every result that exists, by the thread that holds it."""
        each, tile = self.instruction, self.tile
        i, j = Variable("i", self.down), Variable("j", each.n // TARGET.columns)
        half = Variable("half", TARGET.elements // PAIR)
        group_row, group_column = self._group(index(self.thread) // WARPGROUP_THREADS)
        warp = index(self.thread) // WARP % (WARPGROUP_THREADS // WARP)
        down, across = TARGET.place(lane_of(self.thread), index(half) * PAIR)
        row = self.row * tile.rows + (group_row * self.down + index(i)) * each.m
        row += warp * TARGET.rows + down
        column = self.column * tile.columns + group_column * each.n + index(j) * TARGET.columns
        held = (index(self.thread), index(i), index(j), index(half) * PAIR)
        pair = finished_pair(self.matrices, self.groups, row, column + across, self.total, held)
        return unrolled(pair, i, half, j)
