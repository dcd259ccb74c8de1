"""The scalar vocabulary as LLVM instructions, on single numbers and on vectors alike."""

from __future__ import annotations

from graphc.base.errors import InternalError
from graphc.ir.types import DType
from graphc_llvm import bfloat16, vector_math
from graphc_llvm.text import Builder, Val, literal
from graphc_llvm.vector_math import Arithmetic

_FLOAT = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTEGER = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "bit_xor": "xor",
    "shift_left": "shl",
    "shift_right": "lshr",
}
_FLOAT_COMPARE = {"less": "olt", "less_equal": "ole", "equal": "oeq", "not_equal": "une"}
_INTEGER_COMPARE = {"less": "slt", "less_equal": "sle", "equal": "eq", "not_equal": "ne"}
_UNSIGNED_COMPARE = {"less": "ult", "less_equal": "ule", "equal": "eq", "not_equal": "ne"}
_LOGIC = {"logical_and": "and", "logical_or": "or"}
_INTRINSIC = {"abs": "fabs", "sqrt": "sqrt", "floor": "floor"}


def emit(builder: Builder, function: str, arguments: tuple[Val, ...], dtype: DType) -> Val:
    """One function of the vocabulary; single numbers are spread where another argument is a
    vector.
    """
    lanes = max(a.lanes for a in arguments)
    values = tuple(_in_lanes(builder, a, lanes) if lanes else a for a in arguments)
    first = values[0]
    if function == "cast":
        return _cast(builder, first, dtype)
    if function == "select":
        condition, x, y = values
        text = f"select {condition.type} {condition.text}, {x.type} {x.text}, {y.type} {y.text}"
        return Val(builder.new(text), dtype, lanes)
    if function == "pair":
        return bfloat16.pair(builder, first, values[1])
    if function == "fma":
        return Arithmetic(builder, first).fma(first, values[1], values[2])
    if len(values) == 1:
        return _unary(builder, function, first)
    return _binary(builder, function, first, values[1], dtype)


def _in_lanes(builder: Builder, x: Val, lanes: int) -> Val:
    """x in every lane. A condition becomes a mask by its bits, which costs no branch and no
    shuffle.
    """
    if x.lanes or x.dtype is not DType.bool or not x.text.startswith("%"):
        return builder.spread(x, lanes)
    bits = builder.new(f"sext i1 {x.text} to i{lanes}")
    return Val(builder.new(f"bitcast i{lanes} {bits} to <{lanes} x i1>"), DType.bool, lanes)


def _unary(builder: Builder, function: str, x: Val) -> Val:
    if function in vector_math.FUNCTIONS:
        return vector_math.FUNCTIONS[function](builder, x)
    if function in _INTRINSIC and x.dtype.is_float:
        return Arithmetic(builder, x).intrinsic(_INTRINSIC[function], x)
    if function == "neg":
        text = (
            f"fneg {x.type} {x.text}"
            if x.dtype.is_float
            else f"sub {x.type} zeroinitializer, {x.text}"
        )
        text = text.replace("zeroinitializer", "0") if not x.lanes else text
        return Val(builder.new(text), x.dtype, x.lanes)
    if function == "logical_not":
        return Val(
            builder.new(f"xor {x.type} {x.text}, {literal(True, x.dtype, x.lanes).text}"),
            x.dtype,
            x.lanes,
        )
    raise InternalError(f"no code for {function} of {x.dtype}")


def _binary(builder: Builder, function: str, x: Val, y: Val, dtype: DType) -> Val:
    if function in ("maximum", "minimum"):
        return extreme(builder, function, x, y)
    if function == "pow":
        return vector_math.power(builder, x, y)
    if function in _FLOAT_COMPARE:
        word = "fcmp" if x.dtype.is_float else "icmp"
        names = (
            _FLOAT_COMPARE
            if x.dtype.is_float
            else _UNSIGNED_COMPARE
            if x.dtype is DType.u8
            else _INTEGER_COMPARE
        )
        return Val(
            builder.new(f"{word} {names[function]} {x.type} {x.text}, {y.text}"),
            DType.bool,
            x.lanes,
        )
    names = _LOGIC if x.dtype is DType.bool else _FLOAT if x.dtype.is_float else _INTEGER
    if function not in names:
        raise InternalError(f"no code for {function} of {x.dtype}")
    return Val(builder.new(f"{names[function]} {x.type} {x.text}, {y.text}"), dtype, x.lanes)


def extreme(builder: Builder, function: str, x: Val, y: Val) -> Val:
    """The larger or smaller; nan if either is: the comparison picks y where x is nan, the
    second select x.
    """
    larger = function == "maximum"
    if not x.dtype.is_float:
        sign = "u" if x.dtype is DType.u8 else "s"
        condition = f"icmp {sign}{'gt' if larger else 'lt'}"
        test = builder.new(f"{condition} {x.type} {x.text}, {y.text}")
        boolean = Val(test, DType.bool, x.lanes)
        return Val(
            builder.new(f"select {boolean.type} {test}, {x.type} {x.text}, {x.type} {y.text}"),
            x.dtype,
            x.lanes,
        )
    a = Arithmetic(builder, x)
    chosen = a.select(a.compare("ogt" if larger else "olt", x, y), x, y)
    return a.select(a.compare("uno", x, x), x, chosen)


def _cast(builder: Builder, x: Val, dtype: DType) -> Val:
    if x.dtype is dtype:
        return x
    if x.dtype is DType.bf16:
        return _cast(builder, bfloat16.widened(builder, x), dtype)
    if dtype is DType.bf16:
        return bfloat16.rounded(builder, _cast(builder, x, DType.f32))
    zero = literal(0, x.dtype, x.lanes)
    if dtype is DType.bool:
        text = (
            f"fcmp une {x.type} {x.text}, {zero.text}"
            if x.dtype.is_float
            else f"icmp ne {x.type} {x.text}, {zero.text}"
        )
        return Val(builder.new(text), dtype, x.lanes)
    to = Val("", dtype, x.lanes).type
    if x.dtype is DType.bool:
        word = "uitofp" if dtype.is_float else "zext"
    elif x.dtype.is_float and dtype.is_float:
        word = "fpext" if dtype is DType.f64 else "fptrunc"
    elif x.dtype.is_float:
        name = "llvm.fptoui.sat" if dtype is DType.u8 else "llvm.fptosi.sat"
        name = f"{name}.{_suffix(to)}.{_suffix(x.type)}"
        return Val(builder.call(name, to, (x.type, x.text)), dtype, x.lanes)
    elif dtype.is_float:
        word = "uitofp" if x.dtype is DType.u8 else "sitofp"
    elif dtype.itemsize < x.dtype.itemsize:
        word = "trunc"
    else:
        word = "zext" if x.dtype is DType.u8 else "sext"
    return Val(builder.new(f"{word} {x.type} {x.text} to {to}"), dtype, x.lanes)


def _suffix(type: str) -> str:
    from graphc_llvm.text import mangled

    return mangled(type)
