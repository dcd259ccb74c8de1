"""The closed vocabulary of scalar code.

An op's `body` is written once against `Vocabulary`; handlers give it meaning: the LLVM and CUDA
emitters make code of it, `CountOperations` counts floating point operations. Values are opaque to a
body.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from graphc.ir.index import Index
from graphc.ir.types import DType

Value = Any

UNARY = ("neg", "abs", "exp", "log", "sqrt", "tanh", "sigmoid", "erf", "floor", "logical_not")
BINARY = (
    "add", "sub", "mul", "div", "maximum", "minimum", "pow",
    "less", "less_equal", "equal", "not_equal",
    "logical_and", "logical_or", "bit_xor", "shift_left", "shift_right",
)  # fmt: skip
COMPARISONS = frozenset({"less", "less_equal", "equal", "not_equal"})
LOGICAL = frozenset({"logical_and", "logical_or", "logical_not"})


class Vocabulary(ABC):
    """The scalar functions that a body may call."""

    @abstractmethod
    def constant(self, value: float | int | bool, like: Value) -> Value:
        """A literal of the dtype of `like`."""

    @abstractmethod
    def literal(self, value: float | int | bool, dtype: DType) -> Value:
        """A literal of `dtype`."""

    @abstractmethod
    def unary(self, name: str, x: Value) -> Value:
        """One of `UNARY`."""

    @abstractmethod
    def binary(self, name: str, x: Value, y: Value) -> Value:
        """One of `BINARY`; both operands have one dtype, comparisons give bool."""

    @abstractmethod
    def select(self, condition: Value, x: Value, y: Value) -> Value:
        """x where the condition holds, else y."""

    @abstractmethod
    def cast(self, x: Value, dtype: DType) -> Value:
        """x in another dtype; floats to integers round towards zero."""

    @abstractmethod
    def position(self, index: Index, dtype: DType) -> Value:
        """The number that an index expression has at this point of the loops."""

    def neg(self, x: Value) -> Value:
        """-x."""
        return self.unary("neg", x)

    def abs(self, x: Value) -> Value:
        """|x|."""
        return self.unary("abs", x)

    def exp(self, x: Value) -> Value:
        """e to the power of x."""
        return self.unary("exp", x)

    def log(self, x: Value) -> Value:
        """Natural logarithm; nan below 0, -inf at 0."""
        return self.unary("log", x)

    def sqrt(self, x: Value) -> Value:
        """Square root; nan below 0."""
        return self.unary("sqrt", x)

    def tanh(self, x: Value) -> Value:
        """Hyperbolic tangent."""
        return self.unary("tanh", x)

    def sigmoid(self, x: Value) -> Value:
        """1 / (1 + exp(-x))."""
        return self.unary("sigmoid", x)

    def erf(self, x: Value) -> Value:
        """The error function, the integral of 2 / sqrt(pi) exp(-t^2) from 0 to x."""
        return self.unary("erf", x)

    def floor(self, x: Value) -> Value:
        """Greatest whole number not above x."""
        return self.unary("floor", x)

    def add(self, x: Value, y: Value) -> Value:
        """x + y."""
        return self.binary("add", x, y)

    def sub(self, x: Value, y: Value) -> Value:
        """x - y."""
        return self.binary("sub", x, y)

    def mul(self, x: Value, y: Value) -> Value:
        """x * y."""
        return self.binary("mul", x, y)

    def div(self, x: Value, y: Value) -> Value:
        """x / y, IEEE; floats only."""
        return self.binary("div", x, y)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """x * y + z, with one rounding in generated code; floats only."""
        return self.binary("add", self.binary("mul", x, y), z)

    def maximum(self, x: Value, y: Value) -> Value:
        """The larger; nan if either is nan."""
        return self.binary("maximum", x, y)

    def minimum(self, x: Value, y: Value) -> Value:
        """The smaller; nan if either is nan."""
        return self.binary("minimum", x, y)

    def pow(self, x: Value, y: Value) -> Value:
        """x to the power of y, as C's pow."""
        return self.binary("pow", x, y)

    def less(self, x: Value, y: Value) -> Value:
        """x < y."""
        return self.binary("less", x, y)

    def less_equal(self, x: Value, y: Value) -> Value:
        """x <= y."""
        return self.binary("less_equal", x, y)

    def equal(self, x: Value, y: Value) -> Value:
        """x == y."""
        return self.binary("equal", x, y)

    def not_equal(self, x: Value, y: Value) -> Value:
        """x != y; true for nan."""
        return self.binary("not_equal", x, y)


class CountOperations(Vocabulary):
    """Counts the arithmetic of a body.

    Every function on numbers is one operation, moving and choosing are none.
    """

    def __init__(self) -> None:
        self.count = 0

    def constant(self, value: float | int | bool, like: Value) -> Value:
        return None

    def literal(self, value: float | int | bool, dtype: DType) -> Value:
        return None

    def unary(self, name: str, x: Value) -> Value:
        self.count += name not in LOGICAL

    def binary(self, name: str, x: Value, y: Value) -> Value:
        self.count += name not in LOGICAL

    def select(self, condition: Value, x: Value, y: Value) -> Value:
        return None

    def cast(self, x: Value, dtype: DType) -> Value:
        return None

    def position(self, index: Index, dtype: DType) -> Value:
        return None


SLOW = {"div": 4, "sqrt": 4, "pow": 40, "exp": 12, "log": 12, "tanh": 16, "sigmoid": 16, "erf": 30}


class WeighOperations(CountOperations):
    """Counts the arithmetic of a body, slow functions by about how many additions they take."""

    def unary(self, name: str, x: Value) -> Value:
        self.count += SLOW.get(name, 1)

    def binary(self, name: str, x: Value, y: Value) -> Value:
        self.count += SLOW.get(name, 1)
