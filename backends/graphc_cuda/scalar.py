"""The scalar vocabulary as CUDA C++ expressions."""

from __future__ import annotations

import math

import numpy as np

from graphc.base.errors import InternalError
from graphc.ir.types import DType, rounded_to_bf16

REGISTER = {
    DType.f32: "float",
    DType.f64: "double",
    DType.i32: "int",
    DType.i64: "i64",
    DType.u8: "byte",
    DType.bool: "bool",
    DType.bf16: "bf16",
}
MEMORY = REGISTER | {DType.bool: "byte"}

_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "less": "<", "less_equal": "<=",
    "equal": "==", "not_equal": "!=", "logical_and": "&", "logical_or": "|", "bit_xor": "^",
    "shift_left": "<<",
}  # fmt: skip
# Of the mathematical functions CUDA's own are the exact ones; `sigmoid` and the extremes, which
# keep nan, are in the prelude.
_CALLS = {
    "abs": "fabs", "exp": "exp", "log": "log", "sqrt": "sqrt", "tanh": "tanh", "erf": "erf",
    "floor": "floor", "pow": "pow", "fma": "fma",
}  # fmt: skip
_OWN = ("sigmoid", "maximum", "minimum")


def literal(value: float | int | bool, dtype: DType) -> str:
    """A number of `dtype`.

    >>> literal(0.5, DType.f32)
    '0.5f'
    """
    if dtype is DType.bool:
        return "true" if value else "false"
    if dtype is DType.bf16:
        bits = int(rounded_to_bf16(np.array(value)).view(np.uint32)) >> 16
        return f"bf16{{{bits}}}"
    if not dtype.is_float:
        whole = int(value)
        if dtype is DType.i64:
            return "(-9223372036854775807LL - 1)" if whole == -(1 << 63) else f"{whole}LL"
        if dtype is DType.u8:
            return f"byte({whole})"
        return "(-2147483647 - 1)" if whole == -(1 << 31) else str(whole)
    number = dtype.numpy.type(value)
    if not math.isfinite(number):
        text = "nan_" if math.isnan(number) else "infinity_"
        return f"{'-' if float(number) < 0 else ''}{text}<{REGISTER[dtype]}>()"
    text = repr(float(number)) if dtype is DType.f64 else str(np.float32(number))
    text = text if any(c in text for c in ".e") else f"{text}.0"
    return f"{text}f" if dtype is DType.f32 else text


def call(function: str, arguments: list[str], operand: DType, dtype: DType) -> str:
    """One function of the vocabulary. operand: the dtype of the (last) argument."""
    if function == "cast":
        return _cast(arguments[0], operand, dtype)
    if function == "select":
        condition, x, y = arguments
        return f"({condition} ? {x} : {y})"
    if function == "neg":
        return f"byte(-{arguments[0]})" if dtype is DType.u8 else f"(-{arguments[0]})"
    if function == "logical_not":
        return f"(!{arguments[0]})"
    if function == "shift_right":
        unsigned = "u64" if dtype is DType.i64 else "unsigned"
        return f"{REGISTER[dtype]}({unsigned}({arguments[0]}) >> {arguments[1]})"
    if function == "shift_left":
        unsigned = "u64" if dtype is DType.i64 else "unsigned"
        return f"{REGISTER[dtype]}({unsigned}({arguments[0]}) << {arguments[1]})"
    if function in _SIGNS:
        text = f"({arguments[0]} {_SIGNS[function]} {arguments[1]})"
        return f"byte{text}" if dtype is DType.u8 else text  # C would go on with an int
    if function in _CALLS:
        # The float overloads of CUDA's headers, named as C names them.
        suffix = "f" if dtype is DType.f32 else ""
        return f"{_CALLS[function]}{suffix}({', '.join(arguments)})"
    if function in _OWN:
        return f"{function}({', '.join(arguments)})"
    raise InternalError(f"no CUDA code for {function} of {operand}")


def _cast(text: str, source: DType, dtype: DType) -> str:
    if source is dtype:
        return text
    if source is DType.bf16:
        return _cast(f"widened({text})", DType.f32, dtype)
    if dtype is DType.bf16:
        return f"rounded({_cast(text, source, DType.f32)})"
    if dtype is DType.bool:
        return f"({text} != 0)"
    if source.is_float and not dtype.is_float:
        return f"to_{dtype}({text})"
    return f"{REGISTER[dtype]}({text})"
