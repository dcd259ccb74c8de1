"""Products of matrices by threads, each for a tile of 4x4 to 8x8 results in registers.

What a step needs lies in shared memory, [depth, rows] and [depth, columns]; what the next ones
need is on its way there meanwhile. A thread's rows and columns come in groups of 16 bytes
that lie apart, so that a warp reads neighbouring banks.

The tile is the one with the least cost: the products of the blocks that a multiprocessor gets
(whole tiles, also where the matrix ends), by the share of its arithmetic that a thread's tile lets
through, and less if these blocks have too few threads between them to keep it busy; and what is
brought to shared memory, of which a number takes as long as `LOAD` products.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.index import Index, Variable, index
from graphc.loops.gpu.device import ACCESS, GPU
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
from graphc.loops.gpu.tiling import Matrices, Staging, Steps
from graphc.loops.language import (
    STAGE,
    Accumulate,
    Allocate,
    Literal,
    Pipeline,
    Read,
    Scalar,
    Statement,
    Store,
    loop,
)
from graphc.loops.memory import Buffer

DEPTH = 16  # numbers that a step sums
STAGES = 3
# A thread's tile -> the share of a multiprocessor's arithmetic that it lets through: it reads
# rows + columns numbers for rows x columns products.
SHARES = {(8, 8): 0.9, (8, 4): 0.75, (4, 4): 0.55}
SIZES = ((128, 128), (128, 64), (64, 128), (64, 64), (128, 32), (32, 128), (64, 32), (32, 64),
         (32, 32), (64, 16), (16, 64))  # fmt: skip
THREADS = (32, 64, 128, 256)
LOAD = 20  # a multiprocessor does 128 products a cycle, and gets 24 bytes from the second cache
ENOUGH_THREADS = 256  # of a multiprocessor, for their latencies to hide behind each other


@dataclass(frozen=True)
class Tile:
    """Rows x columns of a block, and of a thread."""

    rows: int
    columns: int
    own_rows: int
    own_columns: int

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.rows // self.own_rows * (self.columns // self.own_columns)

    def __str__(self) -> str:
        own = f"{self.own_rows} x {self.own_columns}"
        return f"tiles of {self.rows} x {self.columns} x {DEPTH}, {own} a thread"


TILES = tuple(
    tile
    for rows, columns in SIZES
    for own in SHARES
    for tile in (Tile(rows, columns, *own),)
    if tile.threads in THREADS
)


def product(matrices: Matrices, gpu: GPU) -> tuple[tuple[Statement, ...], str]:
    """The loops of a product of matrices, and the choice made, in words."""
    tile = choose(matrices, gpu)
    return _Builder(matrices, tile).result(), str(tile)


def choose(matrices: Matrices, gpu: GPU) -> Tile:
    """The tile with the least cost for a usual batch."""
    wide = matrices.dtype.itemsize > 4

    def cost(tile: Tile) -> float:
        blocks = matrices.usual_blocks(tile.rows, tile.columns)
        each = -(-blocks // gpu.multiprocessors)
        busy = min(1.0, each * tile.threads / ENOUGH_THREADS)
        share = SHARES[tile.own_rows, tile.own_columns]
        products = tile.rows * tile.columns / (share * busy)
        return each * (products + LOAD * (tile.rows + tile.columns))

    fitting = [t for t in TILES if not wide or t.own_rows * t.own_columns <= 16]
    return min(fitting, key=cost)


class _Builder:
    def __init__(self, matrices: Matrices, tile: Tile) -> None:
        self.matrices, self.tile = matrices, tile
        self.definition = matrices.spanned.definition
        self.thread = Variable(THREAD, tile.threads)
        self.group = ACCESS // matrices.dtype.itemsize  # neighbouring rows or columns of a thread
        steps = self.steps = Steps(matrices.summed, DEPTH)
        left, right = matrices.left, matrices.right
        tiles = matrices.tiles(tile.rows, tile.columns)
        self.blocks = tiles.number
        self.block = grid(self.blocks)
        self.groups, self.row, self.column = tiles.place(self.block)
        common = (tile.threads, matrices.dtype, True, self.group, STAGES, self.groups)
        self.left = Staging("left", left, steps, tile.rows, *common)
        self.right = Staging("right", right, steps, tile.columns, *common)
        dtype, own = matrices.dtype, (tile.own_rows, tile.own_columns)
        self.total = own_array("total", dtype, (tile.threads, *own))
        self.down = own_array("down", dtype, (tile.own_rows,))
        self.across = own_array("across", dtype, (tile.own_columns,))

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
                STAGES,
                (self._threads(load),),
                (self._threads(self._multiplied()),),
            ),
            self._threads(self._finished()),
        )
        for array in (self.total, self.left.array, self.right.array):
            body = (Allocate(array, body),)
        return (loop(self.block, self.blocks, "block", body),)

    def _threads(self, body: tuple[Statement, ...]) -> Statement:
        return loop(self.thread, self.tile.threads, "thread", body)

    # -- a thread's own tile ----------------------------------------------------------------------

    @property
    def _thread_row(self) -> Index:
        return index(self.thread) // (self.tile.columns // self.tile.own_columns)

    @property
    def _thread_column(self) -> Index:
        return index(self.thread) % (self.tile.columns // self.tile.own_columns)

    def _cleared(self) -> Statement:
        zero = Literal(0.0, self.matrices.dtype)
        i, j = Variable("i", self.tile.own_rows), Variable("j", self.tile.own_columns)
        store = Store(self.total, (index(self.thread), index(i), index(j)), zero)
        return unrolled(store, i, j)

    def _multiplied(self) -> tuple[Statement, ...]:
        """The products of a step."""
        tile, k = self.tile, Variable("k", DEPTH)
        i, j = Variable("i", tile.own_rows), Variable("j", tile.own_columns // self.group)
        held = (index(self.thread), index(i), index(j) * self.group + index(LANE))
        factors = (
            Read(self.down, (index(i),)),
            Read(self.across, (index(j) * self.group + index(LANE),)),
        )
        value = Scalar("mul", factors, self.matrices.dtype)
        products = in_lanes(self.group, (Accumulate(self.total, held, "fma", value),))
        body = (
            self._fetched(self.down, self.left.array, k, self._thread_row),
            self._fetched(self.across, self.right.array, k, self._thread_column),
            unrolled(products, i, j),
        )
        return (Allocate(self.down, (Allocate(self.across, (unrolled(body, k),)),)),)

    def _fetched(self, to: Buffer, array: Buffer, k: Variable, number: Index) -> Statement:
        """A thread's numbers of one line, from shared memory."""
        (own,) = to.shape
        assert isinstance(own, int)
        part = Variable("part", own // self.group)
        extent = self.tile.rows if to is self.down else self.tile.columns
        at = self._apart(extent, own, index(part), number) + index(LANE)
        value = Read(array, (index(STAGE), index(k), at))
        store = Store(to, (index(part) * self.group + index(LANE),), value)
        return unrolled(in_lanes(self.group, (store,)), part)

    def _apart(self, extent: int, own: int, part: Index, number: Index) -> Index:
        """Where a thread's group of neighbours number `part` begins in a tile."""
        return part * (extent // own * self.group) + number * self.group

    # -- results ----------------------------------------------------------------------------------

    def _finished(self) -> tuple[Statement, ...]:
        """Every result that exists, by the thread that holds it."""
        tile, group = self.tile, self.group
        rows, columns = self.matrices.left.spans, self.matrices.right.spans
        down, i = Variable("down_part", tile.own_rows // group), Variable("i", group)
        across, j = Variable("across_part", tile.own_columns // group), Variable("j", group)
        row = self.row * tile.rows + index(i)
        row += self._apart(tile.rows, tile.own_rows, index(down), self._thread_row)
        place = self.groups | taken_apart(row, rows)
        left = [count(rows) - row]
        held = (index(self.thread), index(down) * group + index(i))
        column = self._apart(tile.columns, tile.own_columns, index(across), self._thread_column)
        if columns[-1].extent % group == 0:
            unit = self.column * (tile.columns // group) + column // group
            place |= with_lane(taken_apart(unit, columns, group), columns, LANE)
            left.append(count(columns, group) - unit)
            total = Read(self.total, (*held, index(across) * group + index(LANE)))
            body = where(left, in_lanes(group, finish(self.definition, place, total)))
        else:
            column += self.column * tile.columns + index(j)
            place |= taken_apart(column, columns)
            left.append(count(columns) - column)
            total = Read(self.total, (*held, index(across) * group + index(j)))
            body = (unrolled(where(left, finish(self.definition, place, total)), j),)
        return (unrolled(body, down, i, across),)
