"""Which thread of a warp holds which number of a matrix that tensor cores multiply.

Numbers of a fragment lie spread over the registers of 32 threads in a pattern that the instruction
fixes (PTX ISA, "Matrix Fragments for mma"). It is written here once, as index expressions, from
which loads, epilogues and the emulation are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType

WARP_NUMBER = Variable("warp")
WARPGROUP = Variable("warpgroup")
WARPGROUP_THREADS = 128
ROW = Variable("row")
COLUMN = Variable("column")


@dataclass(frozen=True)
class Fragment:
    """A piece of `rows` x `columns`: number `element` of thread `lane` is that at
    (row, column).

    elements: of one thread. pair: neighbouring elements of a thread that share a register.
    """

    rows: int
    columns: int
    elements: int
    pair: int
    by_columns: bool = False

    def place(self, lane: Index, element: Index) -> tuple[Index, Index]:
        """(row, column) of an element of a thread.

        Groups of four threads hold a row, each of them `pair` neighbours of it; further elements
        are 8 rows below, then behind the columns that this takes.
        """
        first = lane // 4 + (element // self.pair % (self.rows_apart)) * 8
        width = 4 * self.pair
        second = lane % 4 * self.pair + element % self.pair
        second = second + element // (self.pair * self.rows_apart) * width
        return (second, first) if self.by_columns else (first, second)

    def holder(self, row: Index, column: Index) -> tuple[Index, Index]:
        """(lane, element) that holds the number at (row, column)."""
        first, second = (column, row) if self.by_columns else (row, column)
        width = 4 * self.pair
        lane = first % 8 * 4 + second % width // self.pair
        element = second % self.pair + first // 8 * self.pair
        return lane, element + second // width * (self.pair * self.rows_apart)

    @property
    def rows_apart(self) -> int:
        """How many elements of a thread lie 8 rows apart."""
        return (self.columns if self.by_columns else self.rows) // 8


@dataclass(frozen=True)
class Instruction:
    """target [m, n] += left [m, k] @ right [k, n]. operands: their dtype."""

    name: str
    operands: DType
    left: Fragment
    right: Fragment
    target: Fragment

    @property
    def m(self) -> int:
        """Rows of the result."""
        return self.target.rows

    @property
    def n(self) -> int:
        """Columns of the result."""
        return self.target.columns

    @property
    def k(self) -> int:
        """How many products are summed."""
        return self.left.columns


TARGET = Fragment(16, 8, 4, 2)
TF32 = Instruction(
    "m16n8k8.tf32", DType.f32,
    Fragment(16, 8, 4, 1), Fragment(8, 8, 2, 1, by_columns=True), TARGET,
)  # fmt: skip
BF16 = Instruction(
    "m16n8k16.bf16", DType.bf16,
    Fragment(16, 16, 8, 2), Fragment(16, 8, 4, 2, by_columns=True), TARGET,
)  # fmt: skip
INSTRUCTIONS = {each.name: each for each in (TF32, BF16)}


@dataclass(frozen=True)
class WarpgroupInstruction:
    """target [64, n] += left [64, k] @ right [k, n], by four warps, 16 rows each. operands: their
    dtype. n: a multiple of 8 up to 256.
    """

    operands: DType
    n: int
    m: ClassVar[int] = 64

    @property
    def k(self) -> int:
        """How many products are summed: 32 bytes of either operand."""
        return 32 // self.operands.itemsize

    @property
    def name(self) -> str:
        """As PTX has it, such as "m64n128k16.bf16"."""
        return f"m64n{self.n}k{self.k}.{'bf16' if self.operands is DType.bf16 else 'tf32'}"

    @classmethod
    def named(cls, name: str) -> WarpgroupInstruction:
        """The instruction of that name."""
        shape, _, operands = name.partition(".")
        columns = int(shape[shape.index("n") + 1 : shape.index("k")])
        return cls(DType.bf16 if operands == "bf16" else DType.f32, columns)


def lane_of(thread: Variable) -> Index:
    """The place of a thread within its warp."""
    return index(thread) % 32
