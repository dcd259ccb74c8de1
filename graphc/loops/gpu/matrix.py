"""Products of matrices by tensor cores (`mma.sync`): warps multiply fragments of what lies in
shared memory.

Operands are staged as they lie in memory, [rows, depth] or [depth, rows], sixteen bytes at a time
and several steps ahead; the pattern in which fragments are read does the rest. A warp has a tile of
results in its registers. Numbers of f32 are rounded to tf32 (10 bits of fraction) as they are
multiplied, sums are f32.

The tile is chosen as in `product`: the products of the blocks that a multiprocessor gets, by the
share of its arithmetic that a warp's tile lets through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.gpu.device import ACCESS, GPU, WARP
from graphc.loops.gpu.fragments import BF16, COLUMN, ROW, TF32, WARP_NUMBER, Instruction, lane_of
from graphc.loops.gpu.places import (
    THREAD,
    count,
    grid,
    own_array,
    taken_apart,
    unrolled,
    where,
    with_lane,
)
from graphc.loops.gpu.pointwise import LANE, in_lanes
from graphc.loops.gpu.reduction import finish
from graphc.loops.gpu.tiling import Factor, Matrices, Staging, Steps
from graphc.loops.language import (
    STAGE,
    Allocate,
    Literal,
    LoadFragment,
    Multiply,
    Pipeline,
    Read,
    Scalar,
    Statement,
    Store,
    loop,
    reads,
)
from graphc.loops.memory import Buffer

DEPTH = {TF32: 32, BF16: 64}  # numbers that a step sums: lines of 128 bytes
PAIR = 2  # neighbouring results that a thread holds
# A warp's tile -> the share of the tensor cores' rate that it lets through: it loads rows + columns
# for rows x columns products.
SHARES = {(64, 64): 1.0, (64, 32): 0.85, (32, 32): 0.7, (32, 16): 0.5, (16, 16): 0.35}
WARPS = ((2, 4), (2, 2), (4, 2), (4, 1), (1, 4), (2, 1), (1, 2))
MOST_STAGES = 4
LARGEST = (64, 32)  # a warp's tile beside which there is room for more than its fragments


@dataclass(frozen=True)
class Tile:
    """Rows x columns of a warp, and how many warps a block has of either."""

    rows: int
    columns: int
    warps: tuple[int, int]

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.warps[0] * self.warps[1] * WARP

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return self.rows * self.warps[0], self.columns * self.warps[1]


TILES = tuple(Tile(*own, warps) for own in SHARES for warps in WARPS)


def instruction_for(matrices: Matrices, precision: str) -> Instruction | None:
    """The tensor cores' instruction for a product; None if it is not theirs."""
    if matrices.dtype is not DType.f32:
        return None
    factors = (matrices.left, matrices.right)
    if all(narrow(f).value.dtype is DType.bf16 for f in factors):
        return BF16
    return TF32 if precision != "f32" else None


def matrix(
    matrices: Matrices, gpu: GPU, instruction: Instruction
) -> tuple[tuple[Statement, ...], str]:
    """The loops of a product by tensor cores, and the choice made, in words."""
    tile = choose(matrices, gpu, instruction)
    builder = _Builder(matrices, gpu, tile, instruction)
    down, across = tile.block
    words = f"{instruction.name}, tiles of {down} x {across} x {builder.depth}"
    return builder.result(), f"{words}, {tile.rows} x {tile.columns} a warp"


def choose(matrices: Matrices, gpu: GPU, instruction: Instruction) -> Tile:
    """The tile with the least cost for a usual batch, of those that leave enough registers."""
    most = LARGEST if _needs_registers(matrices, instruction) else max(SHARES)

    def cost(tile: Tile) -> float:
        down, across = tile.block
        each = -(-matrices.usual_blocks(down, across) // gpu.multiprocessors)
        busy = min(1.0, each * tile.threads / (4 * WARP))
        return each * down * across / (SHARES[tile.rows, tile.columns] * busy)

    return min((t for t in TILES if (t.rows, t.columns) <= most), key=cost)


def _needs_registers(matrices: Matrices, instruction: Instruction) -> bool:
    """Whether threads have more in registers than results: places that are taken apart, addresses
    of numbers that are brought one by one, or what else as large as the result is read behind it.
    """
    steps = Steps(matrices.summed, DEPTH[instruction])
    if max(map(len, (matrices.left.spans, matrices.right.spans, matrices.summed))) > 1:
        return True
    if instruction is BF16:
        return True  # the assembler loads the fragments of several products ahead
    for factor in map(narrow, (matrices.left, matrices.right)):
        staging = Staging("", factor, steps, WARP, WARP, instruction.operands)
        staging = replace(staging, inner=not staging.along_summed)
        if not staging.copies or staging.lanes * instruction.operands.itemsize < ACCESS:
            return True
    sides = [{s.variable for s in f.spans} for f in (matrices.left, matrices.right)]
    behind = reads(*(o.value for o in matrices.definition.outputs))
    moving = ({v for i in r.indices for v in i.variables} for r in behind)
    return any(all(side & variables for side in sides) for variables in moving)


def narrow(factor: Factor) -> Factor:
    """An operand without being widened: tensor cores do that."""
    value = factor.value
    if isinstance(value, Scalar) and value.function == "cast":
        (inner,) = value.arguments
        return replace(factor, value=inner) if inner.dtype is DType.bf16 else factor
    return factor


class _Builder:
    def __init__(self, matrices: Matrices, gpu: GPU, tile: Tile, instruction: Instruction) -> None:
        self.matrices, self.tile, self.instruction = matrices, tile, instruction
        self.thread = Variable(THREAD, tile.threads)
        self.depth = DEPTH[instruction]
        self.steps = Steps(matrices.summed, self.depth)
        down, across = tile.block
        left, right = narrow(matrices.left), narrow(matrices.right)
        tiles = matrices.tiles(down, across)
        self.blocks = tiles.number
        self.block = grid(self.blocks)
        self.groups, self.row, self.column = tiles.place(self.block)
        self.left = self._staging("left", left, down)
        self.right = self._staging("right", right, across)
        self.stages = self._stages(gpu)
        self.left = replace(self.left, stages=self.stages)
        self.right = replace(self.right, stages=self.stages)
        # Fragments of a warp: down its tile, and across.
        self.down = tile.rows // instruction.m
        self.across = tile.columns // instruction.n
        threads, operands = tile.threads, instruction.operands
        self.total = own_array(
            "total", DType.f32, (threads, self.down, self.across, instruction.target.elements)
        )
        self.lefts = own_array("lefts", operands, (threads, self.down, instruction.left.elements))
        self.rights = own_array(
            "rights", operands, (threads, self.across, instruction.right.elements)
        )

    def _staging(self, name: str, factor: Factor, extent: int) -> Staging:
        """Lines as they lie in memory, and so far apart that a fragment's meet no conflict."""
        staged = Staging(
            name, factor, self.steps, extent, self.tile.threads, self.instruction.operands,
            groups=self.groups,
        )  # fmt: skip
        inner = not staged.along_summed
        by_number = inner and self.instruction is TF32  # 8 lines of 4 bytes beside each other
        padding = (32 if by_number else 16) // self.instruction.operands.itemsize
        return replace(staged, inner=inner, padding=padding)

    def _stages(self, gpu: GPU) -> int:
        """As many as fit twice into shared memory, so that two blocks share a multiprocessor."""
        arrays = (replace(self.left, stages=1).array, replace(self.right, stages=1).array)
        size = sum(a.strides[0].fixed * a.dtype.itemsize for a in arrays)  # of a stage
        return max(2, min(MOST_STAGES, gpu.shared_bytes // 2 // size))

    def result(self) -> tuple[Statement, ...]:
        step, stage = index(self.steps.variable), index(STAGE)
        load = (
            self.left.load(self.thread, self.row, step, stage),
            self.right.load(self.thread, self.column, step, stage),
        )
        body: tuple[Statement, ...] = (
            self._threads((self._cleared(),)),
            Pipeline(
                self.steps.variable,
                self.steps.number,
                self.stages,
                (self._threads(load),),
                (self._multiplied(),),
            ),
            self._threads(self._finished()),
        )
        for array in (self.rights, self.lefts, self.total, self.right.array, self.left.array):
            body = (Allocate(array, body),)
        return (loop(self.block, self.blocks, "block", body),)

    def _threads(self, body: tuple[Statement, ...]) -> Statement:
        return loop(self.thread, self.tile.threads, "thread", body)

    def _cleared(self) -> Statement:
        i, j = Variable("i", self.down), Variable("j", self.across)
        e = Variable("e", self.instruction.target.elements)
        at = (index(self.thread), index(i), index(j), index(e))
        return unrolled(Store(self.total, at, Literal(0.0, DType.f32)), i, j, e)

    def _multiplied(self) -> Statement:
        """The products of a step."""
        each = self.instruction
        k = Variable("k", self.depth // each.k)
        i, j = Variable("i", self.down), Variable("j", self.across)
        warp_row, warp_column = self._warp(index(WARP_NUMBER))
        row = warp_row * self.tile.rows + index(i) * each.m + index(ROW)
        column = warp_column * self.tile.columns + index(j) * each.n + index(COLUMN)
        summed = index(k) * each.k
        load_left = LoadFragment(
            each.name, "left", self.lefts, (index(i),), self.left.array,
            self._place(self.left, row, summed + index(COLUMN)),
        )  # fmt: skip
        load_right = LoadFragment(
            each.name, "right", self.rights, (index(j),), self.right.array,
            self._place(self.right, column, summed + index(ROW)),
        )  # fmt: skip
        multiply = Multiply(
            each.name, self.total, (index(i), index(j)),
            self.lefts, (index(i),), self.rights, (index(j),),
        )  # fmt: skip
        body = (
            unrolled(load_left, i),
            unrolled(load_right, j),
            unrolled(multiply, i, j),
        )
        return loop(k, self.depth // each.k, "unroll", body)

    def _place(self, staging: Staging, own: Index, summed: Index) -> tuple[Index, ...]:
        stage = index(STAGE)
        return (stage, summed, own) if staging.inner else (stage, own, summed)

    def _warp(self, number: Index) -> tuple[Index, Index]:
        """Where a warp stands among those of its block."""
        across = self.tile.warps[1]
        return number // across, number % across

    def _finished(self) -> tuple[Statement, ...]:
        """Every result that exists, by the thread that holds it."""
        each, (rows, columns) = self.instruction, self.tile.block
        i, j = Variable("i", self.down), Variable("j", self.across)
        half = Variable("half", each.target.elements // PAIR)
        warp_row, warp_column = self._warp(index(self.thread) // WARP)
        down, across = each.target.place(lane_of(self.thread), index(half) * PAIR)
        row = self.row * rows + warp_row * self.tile.rows + index(i) * each.m + down
        column = self.column * columns + warp_column * self.tile.columns + index(j) * each.n
        held = (index(self.thread), index(i), index(j), index(half) * PAIR)
        pair = finished_pair(self.matrices, self.groups, row, column + across, self.total, held)
        return (unrolled(pair, i, half, j),)


def finished_pair(
    matrices: Matrices,
    groups: Mapping[Variable, Index],
    row: Index,
    column: Index,
    totals: Buffer,
    held: tuple[Index, ...],
) -> tuple[Statement, ...]:
    """Two neighbouring results, as far as they exist: those of a row at `column`, a multiple of
    two, and behind it. totals: their sums, from `held` on.
    """
    left, right, definition = matrices.left.spans, matrices.right.spans, matrices.definition
    place = {**groups, **taken_apart(row, left)}
    limits = [count(left) - row]
    if right[-1].extent % PAIR == 0:
        unit = column // PAIR
        place |= with_lane(taken_apart(unit, right, PAIR), right, LANE)
        limits.append(count(right, PAIR) - unit)
        total = Read(totals, (*held[:-1], held[-1] + index(LANE)))
        return where(limits, in_lanes(PAIR, finish(definition, place, total)))
    each = Variable("pair", PAIR)
    column += index(each)
    place |= taken_apart(column, right)
    limits.append(count(right) - column)
    total = Read(totals, (*held[:-1], held[-1] + index(each)))
    return (unrolled(where(limits, finish(definition, place, total)), each),)
