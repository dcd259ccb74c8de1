"""Products of matrices in shared memory (`wgmma`): how the instruction is told where they lie.

A descriptor of 64 bits names a matrix in lines of 128 bytes, whose pieces of 16 bytes have traded
places in each eight lines as tensor maps have them do it (PTX ISA, "Matrix descriptor"):

    bits 0..13    first byte / 16
    bits 16..29   bytes / 16 from one group of lines beside each other to the next, where the lines
                  run along rows or columns of the result (not used where along what is summed)
    bits 32..45   bytes / 16 from eight lines to the next eight
    bits 62..63   1: lines of 128 bytes
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphc.base.errors import InternalError
from graphc.ir.index import Index, Variable
from graphc.ir.types import DType
from graphc.loops.gpu.fragments import COLUMN, ROW, TARGET, WarpgroupInstruction
from graphc.loops.gpu.tensor_maps import LINE
from graphc.loops.language import MultiplyShared
from graphc.loops.memory import Buffer

Offset = Callable[[Buffer, tuple[Index, ...]], Index]
Text = Callable[[Index], str]
LINES = 8  # within which pieces trade places


@dataclass(frozen=True)
class Described:
    """An operand as the instruction sees it. start: elements from the beginning of its array; bits:
    its descriptor, but for the start; along_summed: whether its lines run along what is summed.
    """

    start: Index
    bits: int
    along_summed: bool


def described(
    buffer: Buffer, place: tuple[Index, ...], kept: Variable, summed: Variable, offset: Offset
) -> Described:
    """The operand whose elements lie at `place`; kept: its row or column of the result."""
    size = buffer.dtype.itemsize
    start = _at(offset(buffer, place), kept, 0, summed, 0)

    def step(rows: int, deep: int) -> int:
        there = _at(offset(buffer, place), kept, rows, summed, deep) - start
        if not there.is_constant:
            raise InternalError(f"{buffer.name} does not lie in lines")
        return there.constant * size

    along_summed = step(0, 1) == size
    lines = step(LINES, 0) if along_summed else step(0, LINES)
    beside = LINES * 2 if along_summed else step(LINE // size, 0)
    if step(1, 0) + step(0, 1) != LINE + size or lines != LINES * LINE:
        raise InternalError(f"{buffer.name} does not lie in lines of {LINE} bytes")
    bits = (beside // 16) << 16 | (lines // 16) << 32 | 1 << 62
    return Described(start, bits, along_summed)


def _at(place: Index, kept: Variable, rows: int, summed: Variable, deep: int) -> Index:
    return place.at({kept: rows, summed: deep})


def name_of(instruction: WarpgroupInstruction, turned: tuple[bool, bool]) -> str:
    """The function that multiplies. turned: which operands have lines along rows or columns."""
    suffix = "".join(f"_{side}_turned" for side, is_so in zip(SIDES, turned, strict=True) if is_so)
    return f"multiply_{instruction.name.replace('.', '_')}{suffix}"


SIDES = ("left", "right")


def multiply_line(s: MultiplyShared, total: str, offset: Offset, text: Text) -> str:
    """The call that multiplies. total: the sums of a thread, an array [columns / 8][4]."""
    instruction, sides = WarpgroupInstruction.named(s.instruction), _sides(s, offset)
    operands = ", ".join(
        f"described({buffer.name} + {text(side.start)}, {side.bits:#x}ULL)"
        for buffer, side in zip((s.left, s.right), sides, strict=True)
    )
    left, right = sides
    name = name_of(instruction, (not left.along_summed, not right.along_summed))
    return f"{name}({total}, {operands});"


def function_of(s: MultiplyShared) -> str:
    """The function that `multiply_line` calls; several kernels of a source may bring it along."""
    left, right = _sides(s, lambda buffer, place: buffer.offset(place)[0])
    turned = (not left.along_summed, not right.along_summed)
    instruction = WarpgroupInstruction.named(s.instruction)
    name, count = name_of(instruction, turned), instruction.n // 2
    tail = "p, 1, 1"
    if instruction.operands is DType.bf16:
        tail += f", {turned[0]:d}, {turned[1]:d}"
    elif any(turned):
        raise InternalError("operands of 32 bits lie in lines along what is summed")
    kind = "bf16.bf16" if instruction.operands is DType.bf16 else "tf32.tf32"
    shape = instruction.name.split(".")[0]
    registers = ", ".join(f"%{k}" for k in range(count))
    outputs = ", ".join(
        f'"+f"(d[{k // TARGET.elements}][{k % TARGET.elements}])' for k in range(count)
    )
    return f"""#ifndef {name.upper()}
#define {name.upper()}
__device__ inline void {name}(float (&d)[{instruction.n // 8}][4], u64 left, u64 right) {{
    asm volatile("{{.reg .pred p; setp.eq.u32 p, 0, 0; "
        "wgmma.mma_async.sync.aligned.{shape}.f32.{kind} "
        "{{{registers}}}, "
        "%{count}, %{count + 1}, {tail};}}"
        : {outputs}
        : "l"(left), "l"(right));
}}
#endif"""


def _sides(s: MultiplyShared, offset: Offset) -> tuple[Described, Described]:
    return (
        described(s.left, s.left_place, ROW, COLUMN, offset),
        described(s.right, s.right_place, COLUMN, ROW, offset),
    )
