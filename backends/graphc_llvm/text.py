"""LLVM IR as text: types, literals, and a builder that names values. Knows nothing of loops."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graphc.ir.types import DType, rounded_to_bf16

REGISTER = {
    DType.f32: "float",
    DType.f64: "double",
    DType.i32: "i32",
    DType.i64: "i64",
    DType.u8: "i8",
    DType.bool: "i1",
    DType.bf16: "i16",  # its bits: nothing computes with it
}
MEMORY = REGISTER | {DType.bool: "i8"}
MANGLED = {"float": "f32", "double": "f64"} | {i: i for i in ("i1", "i8", "i16", "i32", "i64")}


@dataclass(frozen=True)
class Val:
    """A value: its text, element type, and lanes (0: a single number)."""

    text: str
    dtype: DType
    lanes: int = 0

    @property
    def type(self) -> str:
        """The LLVM type."""
        return vector_type(REGISTER[self.dtype], self.lanes)


def vector_type(element: str, lanes: int) -> str:
    """``<lanes x element>``, or the element itself for 0 lanes."""
    return f"<{lanes} x {element}>" if lanes else element


def mangled(type: str) -> str:
    """The suffix of an overloaded intrinsic: v16f32 for <16 x float>."""
    if not type.startswith("<"):
        return MANGLED[type]
    lanes, _, element = type[1:-1].partition(" x ")
    return f"v{lanes}{MANGLED[element]}"


def number(value: float | int | bool, dtype: DType) -> str:
    """A literal of `dtype`."""
    if dtype is DType.bool:
        return "true" if value else "false"
    if dtype is DType.bf16:
        return str(int(rounded_to_bf16(np.array(value)).view(np.uint32)) >> 16)
    if not dtype.is_float:
        return str(int(value))
    if dtype is DType.f32:
        try:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def literal(value: float | int | bool, dtype: DType, lanes: int = 0) -> Val:
    """A literal, in every lane if there are lanes."""
    text = number(value, dtype)
    return Val(f"splat ({REGISTER[dtype]} {text})" if lanes else text, dtype, lanes)


class Module:
    """Declarations, functions and a counter for names.

    pairs: whether the processor has instructions for pairs of bf16.
    """

    def __init__(self, pairs: bool = False) -> None:
        self.pairs = pairs
        self.declarations: dict[str, None] = {}
        self.functions: list[str] = []
        self.counter = 0

    def name(self, hint: str = "v") -> str:
        """A fresh name, without its sigil."""
        self.counter += 1
        return f"{hint}{self.counter}"

    def declare(self, name: str, result: str, arguments: tuple[str, ...]) -> str:
        """Declares an intrinsic or function once; returns ``@name``."""
        self.declarations[f"declare {result} @{name}({', '.join(arguments)})"] = None
        return f"@{name}"

    def __str__(self) -> str:
        zeros = "@zeros = private constant [256 x i8] zeroinitializer, align 64"
        return "\n".join([*self.declarations, zeros, *self.functions]) + "\n"


class Builder:
    """Appends instructions to a list of lines."""

    def __init__(self, module: Module, lines: list[object]) -> None:
        self.module = module
        self.lines = lines

    def line(self, text: str) -> None:
        """One instruction without a result."""
        self.lines.append(f"  {text}")

    def new(self, text: str, hint: str = "v") -> str:
        """One instruction; returns the name of its result."""
        name = "%" + self.module.name(hint)
        self.lines.append(f"  {name} = {text}")
        return name

    def call(self, name: str, result: str, *arguments: tuple[str, str]) -> str:
        """A call of an intrinsic, declared on the way; arguments are (type, text)."""
        function = self.module.declare(name, result, tuple(t for t, _ in arguments))
        listed = ", ".join(f"{t} {v}" for t, v in arguments)
        return self.new(f"call {result} {function}({listed})")

    def shuffle(self, x: Val, y: Val, picks: Sequence[int]) -> Val:
        """A vector of elements of x and y, by number; those of y count on from those of x."""
        mask = f"<{len(picks)} x i32> <{', '.join(f'i32 {p}' for p in picks)}>"
        text = self.new(f"shufflevector {x.type} {x.text}, {y.type} {y.text}, {mask}")
        return Val(text, x.dtype, len(picks))

    def spread(self, value: Val, lanes: int) -> Val:
        """A single number in every lane; vectors stay."""
        if value.lanes == lanes:
            return value
        if not value.text.startswith("%"):
            return Val(f"splat ({REGISTER[value.dtype]} {value.text})", value.dtype, lanes)
        type = vector_type(REGISTER[value.dtype], lanes)
        first = self.new(f"insertelement {type} poison, {value.type} {value.text}, i32 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        return Val(
            self.new(f"shufflevector {type} {first}, {type} poison, {zeros}"), value.dtype, lanes
        )
