"""Fragments of matrices in CUDA C++: how a warp loads them, and how tensor cores multiply them.

A fragment of numbers of 16 bits, or of 32 bits with what is summed over innermost, comes by
`ldmatrix`: each thread names a line of 16 bytes, and the warp exchanges them. Others are read
number by number.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.base.errors import InternalError
from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.gpu.fragments import COLUMN, INSTRUCTIONS, ROW, Fragment
from graphc.loops.language import LoadFragment, Multiply
from graphc.loops.memory import Buffer

LINE = 16  # bytes of a row of the 8 rows that `ldmatrix` moves at a time
LANE = Variable("lane", 32)
Offset = Callable[[Buffer, tuple[Index, ...]], Index]
Text = Callable[[Index], str]


def fragment_of(s: LoadFragment) -> Fragment:
    """What is loaded."""
    instruction = INSTRUCTIONS[s.instruction]
    return instruction.left if s.operand == "left" else instruction.right


def load_lines(s: LoadFragment, offset: Offset, text: Text, target: str) -> list[str]:
    """The lines of C++ that load a fragment. target: its registers, as an array of words."""
    place = offset(s.source, s.place)
    fragment, size = fragment_of(s), s.source.dtype.itemsize
    rows, columns = (Variable(v.name) for v in (ROW, COLUMN))
    if not (place.is_linear_in(rows) and place.is_linear_in(columns)):
        raise InternalError(f"{s.source.name} does not lie in lines")
    summed, kept = (rows, columns) if fragment.by_columns else (columns, rows)
    words = fragment.elements * size // 4
    if place.coefficient(summed) == 1:
        return [_ldmatrix(s, place, summed, kept, words, text, target, "")]
    if size == 2 and place.coefficient(kept) == 1:
        return [_ldmatrix(s, place, kept, summed, words, text, target, "_transposed")]
    if size != 4:
        raise InternalError(f"{s.source.name} does not lie in lines")
    lines = []
    for element in range(fragment.elements):
        row, column = fragment.place(index(LANE), Index((), element))
        at = place.substitute({rows: row, columns: column})
        lines.append(f"{target}[{element}] = __float_as_uint({s.source.name}[{text(at)}]);")
    return lines


def _ldmatrix(
    s: LoadFragment,
    place: Index,
    along: Variable,
    across: Variable,
    words: int,
    text: Text,
    target: str,
    suffix: str,
) -> str:
    """One `ldmatrix` of `words` tiles of 8 lines: lane k names line k % 8 of tile k // 8.

    Tiles come in the order of the registers: first 8 further rows of what is kept, then what lies
    behind them along the sum.
    """
    fragment = fragment_of(s)
    per_line = LINE // s.source.dtype.itemsize
    line, tile = index(LANE) % 8, index(LANE) // 8 % words
    apart = fragment.rows_apart
    kept_tile, summed_tile = tile % apart, tile // apart
    if suffix:  # lines run along what is kept; a tile's lines follow what is summed
        at = {along: kept_tile * per_line, across: summed_tile * 8 + line}
    else:
        at = {along: summed_tile * per_line, across: kept_tile * 8 + line}
    start = text(place.substitute(at))
    return f"load_matrices{suffix}<{words}>({target}, {s.source.name} + {start});"


def multiply_line(s: Multiply, target: str, left: str, right: str) -> str:
    """The line of C++ that multiplies two fragments."""
    name = s.instruction.replace(".", "_")
    return f"multiply_{name}({target}, {left}, {right});"


def words_of(dtype: DType, elements: int) -> int:
    """Registers of 32 bits that hold so many elements of a fragment."""
    return elements * dtype.itemsize // 4
