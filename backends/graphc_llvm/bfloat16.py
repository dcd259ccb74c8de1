"""bf16 as LLVM instructions: rounding, widening, and products of pairs.

A number of bf16 is an i16, the upper half of an f32; a pair is an i32, its first number the lower
half. Processors with AVX512-BF16 have an instruction each for rounding and for products; others do
the same with shifts. The instructions take numbers below 2^-126 as zero, the shifts do not.
"""

from __future__ import annotations

from graphc.ir.types import DType
from graphc_llvm.text import Builder, Val, mangled, vector_type

LANES_OF_DOT = 16
QUIET = 0x40  # in a bf16: the bit that a nan keeps whatever else is cut off


def rounded(builder: Builder, x: Val) -> Val:
    """f32 to the nearest bf16, halves to even; nan stays nan."""
    if builder.module.pairs:
        short = vector_type("bfloat", x.lanes)
        cut = builder.new(f"fptrunc {x.type} {x.text} to {short}")
        bits = Val("", DType.bf16, x.lanes)
        return Val(builder.new(f"bitcast {short} {cut} to {bits.type}"), DType.bf16, x.lanes)
    whole = _bits(builder, x)
    upper = _shifted(builder, "lshr", whole)
    odd = _with(builder, "and", upper, 1)
    up = builder.new(f"add {whole.type} {_with(builder, 'add', whole, 0x7FFF).text}, {odd.text}")
    near = _shifted(builder, "lshr", Val(up, DType.i32, x.lanes))
    quiet = _with(builder, "or", upper, QUIET)
    is_nan = builder.new(f"fcmp uno {x.type} {x.text}, {x.text}")
    mask = vector_type("i1", x.lanes)
    picked = f"select {mask} {is_nan}, {near.type} {quiet.text}, {near.type} {near.text}"
    result = Val("", DType.bf16, x.lanes)
    text = builder.new(f"trunc {near.type} {builder.new(picked)} to {result.type}")
    return Val(text, DType.bf16, x.lanes)


def widened(builder: Builder, x: Val) -> Val:
    """bf16 to f32, exactly."""
    return _number(builder, _shifted(builder, "shl", _extended(builder, x)))


def pair(builder: Builder, first: Val, second: Val) -> Val:
    """Two numbers of bf16 side by side."""
    low = _extended(builder, first)
    high = _shifted(builder, "shl", _extended(builder, second))
    return Val(builder.new(f"or {low.type} {low.text}, {high.text}"), DType.i32, low.lanes)


def dot(builder: Builder, x: Val, y: Val, total: Val) -> Val:
    """total + the product of the second numbers of two pairs + that of the first, in f32."""
    if builder.module.pairs and total.lanes == LANES_OF_DOT:
        numbers = vector_type("bfloat", 2 * LANES_OF_DOT)
        operands = [
            (numbers, builder.new(f"bitcast {v.type} {v.text} to {numbers}")) for v in (x, y)
        ]
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        text = builder.call(name, total.type, (total.type, total.text), *operands)
        return Val(text, DType.f32, total.lanes)
    for half in (_second, _first):
        operands = [(total.type, half(builder, v).text) for v in (x, y)]
        operands.append((total.type, total.text))
        text = builder.call(f"llvm.fma.{mangled(total.type)}", total.type, *operands)
        total = Val(text, DType.f32, total.lanes)
    return total


def _first(builder: Builder, pair: Val) -> Val:
    return _number(builder, _shifted(builder, "shl", pair))


def _second(builder: Builder, pair: Val) -> Val:
    return _number(builder, _with(builder, "and", pair, -1 << 16))


def _bits(builder: Builder, x: Val) -> Val:
    whole = Val("", DType.i32, x.lanes)
    return Val(builder.new(f"bitcast {x.type} {x.text} to {whole.type}"), DType.i32, x.lanes)


def _number(builder: Builder, bits: Val) -> Val:
    wide = Val("", DType.f32, bits.lanes)
    text = builder.new(f"bitcast {bits.type} {bits.text} to {wide.type}")
    return Val(text, DType.f32, bits.lanes)


def _extended(builder: Builder, x: Val) -> Val:
    whole = Val("", DType.i32, x.lanes)
    return Val(builder.new(f"zext {x.type} {x.text} to {whole.type}"), DType.i32, x.lanes)


def _shifted(builder: Builder, word: str, x: Val) -> Val:
    return _with(builder, word, x, 16)


def _with(builder: Builder, word: str, x: Val, number: int) -> Val:
    """An instruction on x and the same number in every lane."""
    operand = f"splat (i32 {number})" if x.lanes else str(number)
    return Val(builder.new(f"{word} {x.type} {x.text}, {operand}"), x.dtype, x.lanes)
