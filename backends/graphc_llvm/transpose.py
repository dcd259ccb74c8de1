"""A tile from one layout to the other: lines in, log2(lanes) rounds of exchanges, lines out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.ir.index import Index, Variable, index
from graphc.loops.language import Transpose
from graphc.loops.memory import Buffer
from graphc_llvm.text import MEMORY, Val, mangled, vector_type

if TYPE_CHECKING:
    from graphc_llvm.kernel import KernelEmitter


def emit_transpose(emitter: KernelEmitter, s: Transpose) -> None:
    """Emits one tile. Lines that do not exist are read as zero and written to a scratch line."""
    rows = [Val(_load(emitter, s, i), s.source.dtype, s.lanes) for i in range(s.rows)]
    rows += [Val("zeroinitializer", s.source.dtype, s.lanes)] * (s.lanes - s.rows)
    step = 1
    while step < s.lanes:
        rows = _exchange(emitter, s, rows, step)
        step *= 2
    for j in range(s.columns):
        _store(emitter, s, j, rows[j].text)


def _type(s: Transpose) -> str:
    return vector_type(MEMORY[s.source.dtype], s.lanes)


def _exchange(emitter: KernelEmitter, s: Transpose, rows: list[Val], step: int) -> list[Val]:
    """Blocks of `step` off the diagonal change places between lines `step` apart."""
    result = list(rows)
    lanes = range(s.lanes)
    low = [k if not k & step else s.lanes + k - step for k in lanes]
    high = [k + step if not k & step else s.lanes + k for k in lanes]
    for k in lanes:
        if k & step:
            continue
        for to, picks in ((k, low), (k + step, high)):
            result[to] = emitter.builder.shuffle(rows[k], rows[k + step], picks)
    return result


def _line(
    emitter: KernelEmitter,
    s: Transpose,
    buffer: Buffer,
    place: tuple[Index, ...],
    along: Variable,
    k: int,
) -> tuple[str, str | None]:
    """(address of line k of the tile, whether its sample exists; None if it surely does)."""
    at = {s.row: Index(), s.column: Index(), along: index(k)}
    fixed, padded = buffer.offset(tuple(i.substitute(at) for i in place))
    pointer = emitter.pointer(buffer, fixed, padded)
    if s.limit is None or s.samples is not along:
        return pointer, None
    return pointer, emitter.builder.new(f"icmp sgt i64 {emitter.index(s.limit)}, {k}")


def _mask(s: Transpose, count: int) -> str:
    lanes = ", ".join(f"i1 {'true' if k < count else 'false'}" for k in range(s.lanes))
    return f"<{lanes}>"


def _load(emitter: KernelEmitter, s: Transpose, i: int) -> str:
    b, type, align = emitter.builder, _type(s), s.source.dtype.itemsize
    pointer, exists = _line(emitter, s, s.source, s.source_place, s.row, i)
    if exists is not None:
        pointer = b.new(f"select i1 {exists}, ptr {pointer}, ptr @zeros")
    if s.columns == s.lanes:
        return b.new(f"load {type}, ptr {pointer}, align {align}")
    return b.call(
        f"llvm.masked.load.{mangled(type)}.p0",
        type,
        ("ptr", pointer),
        ("i32", str(align)),
        (vector_type("i1", s.lanes), _mask(s, s.columns)),
        (type, "zeroinitializer"),
    )


def _store(emitter: KernelEmitter, s: Transpose, j: int, row: str) -> None:
    b, type, align = emitter.builder, _type(s), s.target.dtype.itemsize
    pointer, exists = _line(emitter, s, s.target, s.target_place, s.column, j)
    if exists is not None:
        pointer = b.new(f"select i1 {exists}, ptr {pointer}, ptr {emitter.scratch(type)}")
    if s.rows == s.lanes:
        b.line(f"store {type} {row}, ptr {pointer}, align {align}")
        return
    mask_type = vector_type("i1", s.lanes)
    name = emitter.module.declare(
        f"llvm.masked.store.{mangled(type)}.p0", "void", (type, "ptr", "i32", mask_type)
    )
    mask = _mask(s, s.rows)
    b.line(f"call void {name}({type} {row}, ptr {pointer}, i32 {align}, {mask_type} {mask})")
