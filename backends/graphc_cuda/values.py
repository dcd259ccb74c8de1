"""Expressions of the loop language as CUDA C++: indices, reads, conditions, functions.

In a vector loop a value is one text a lane, or one text for all; neighbours that lie aligned are
read by one access. Parts that are used several times get a name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphc.base.errors import InternalError
from graphc.ir.index import Atom, Index, Quotient, Remainder, Variable
from graphc.ir.types import DType
from graphc.loops.language import Expression, Literal, Position, Read, Scalar
from graphc.loops.memory import Buffer
from graphc.ops.op import Bound
from graphc_cuda.scalar import MEMORY, REGISTER, call, literal

Texts = tuple[str, ...]
LONGEST = 60  # characters of a text that is written out again where it is used again


@dataclass
class Lane:
    """The vector loop under way."""

    variable: Variable
    count: int


class Values:
    """Writes lines, and values at the point that they have reached."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.indent = "    "
        self.lane: Lane | None = None
        self.counter = 0
        self.known: dict[int, tuple[Expression, Texts]] = {}
        self.loads: dict[object, Texts] = {}
        self.places: dict[Atom, str] = {}

    def line(self, text: str) -> None:
        """Adds a line."""
        self.lines.append(self.indent + text)

    def name(self, hint: str) -> str:
        """A fresh name."""
        self.counter += 1
        return f"{hint}_{self.counter}"

    def value(self, e: Expression) -> Texts:
        """The value of `e`: one text, or one a lane."""
        known = self.known.get(id(e))
        if known is not None and known[0] is e:
            return known[1]
        texts = self._value(e)
        if isinstance(e, Scalar) and max(map(len, texts)) > LONGEST:
            texts = self.named(texts, e.dtype)
        self.known[id(e)] = e, texts
        return texts

    def named(self, texts: Texts, dtype: DType) -> Texts:
        """`texts`, each with a name of its own."""
        names = []
        for text in texts:
            names.append(self.name("v"))
            self.line(f"const {REGISTER[dtype]} {names[-1]} = {text};")
        return tuple(names)

    def _value(self, e: Expression) -> Texts:
        if isinstance(e, Literal):
            return (literal(e.value, e.dtype),)
        if isinstance(e, Read):
            return self._read(e)
        if isinstance(e, Position):
            wide = self._in_lanes(e.index)
            return tuple(call("cast", [f"({text})"], DType.i32, e.dtype) for text in wide)
        if not isinstance(e, Scalar):
            raise InternalError("lanes of a vector are not combined on graphics processors")
        if e.function == "within":
            return self.condition(e.bounds)
        arguments = [self.value(a) for a in e.arguments]
        operand = e.arguments[-1].dtype
        count = max(map(len, arguments))
        spread = [texts * count if len(texts) == 1 else texts for texts in arguments]
        return tuple(
            call(e.function, [texts[k] for texts in spread], operand, e.dtype) for k in range(count)
        )

    # -- indices ----------------------------------------------------------------------------------

    def index(self, i: Index) -> str:
        """An index as an expression of C."""
        parts = [self._term(atom, factor) for atom, factor in i.terms]
        if i.constant or not parts:
            parts.append(str(i.constant))
        return " + ".join(parts).replace("+ -", "- ")

    def above_zero(self, i: Index) -> str:
        """The condition that an index is above zero: what is taken away on the left."""
        less = Index(tuple((a, -c) for a, c in i.terms if c < 0), max(0, -i.constant))
        more = Index(tuple((a, c) for a, c in i.terms if c > 0), max(0, i.constant))
        return f"{self.index(less)} < {self.index(more)}"

    def _term(self, atom: Atom, factor: int) -> str:
        text = self._atom(atom)
        return {1: text, -1: f"-{text}"}.get(factor, f"{factor} * {text}")

    def _atom(self, atom: Atom) -> str:
        """A variable, or the name of a quotient or remainder. Those are of numbers above zero, for
        which division without signs is cheaper.
        """
        if isinstance(atom, Variable):
            return atom.name
        if atom not in self.places:
            shifted, whole = _above_zero(atom)
            inner = self.index(shifted)
            inner = inner if len(shifted.terms) + bool(shifted.constant) == 1 else f"({inner})"
            sign = "%" if isinstance(atom, Remainder) else "/"
            text = f"index({inner} {sign} {atom.divisor}u)"
            if whole and isinstance(atom, Quotient):
                text += f" - {whole}"
            self.places[atom] = self.name("at")
            self.line(f"const index {self.places[atom]} = {text};")
        return self.places[atom]

    def _in_lanes(self, i: Index) -> Texts:
        """An index in every lane; one text if the lane does not occur."""
        if self.lane is None or self.lane.variable not in i.variables:
            return (self.index(i),)
        return tuple(self.index(i.at({self.lane.variable: k})) for k in range(self.lane.count))

    def condition(self, bounds: Iterable[Bound]) -> Texts:
        """Whether all bounds hold: one text, or one a lane."""
        columns: list[Texts] = []
        for bound in bounds:
            low, high = bound.value.bounds()
            tests = []
            for text in self._in_lanes(bound.value):
                conditions = []
                if low is None or low < bound.low:
                    conditions.append(f"{text} >= {bound.low}")
                if high is None or bound.high is None or high >= bound.high:
                    conditions.append(f"{text} < {'N' if bound.high is None else bound.high}")
                tests.append(" && ".join(conditions) or "true")
            columns.append(tuple(tests))
        count = max(map(len, columns), default=1)
        spread = [c * count if len(c) == 1 else c for c in columns]
        found = []
        for k in range(count):
            tests = [c[k] for c in spread if c[k] != "true"]
            found.append(f"({' && '.join(tests)})" if tests else "true")
        return tuple(found)

    # -- memory -----------------------------------------------------------------------------------

    def place(self, buffer: Buffer, indices: tuple[Index, ...]) -> str:
        """An element, as an expression that can be assigned to."""
        if buffer.local and not buffer.shared:
            return buffer.name + "".join(f"[{self.index(i)}]" for i in self.own(buffer, indices))
        return f"{buffer.name}[{self.index(self.offset(buffer, indices))}]"

    def own(self, buffer: Buffer, indices: tuple[Index, ...]) -> tuple[Index, ...]:
        """The indices into a thread's own part of an array."""
        return indices

    def offset(self, buffer: Buffer, indices: tuple[Index, ...]) -> Index:
        """Elements from the start of a buffer in memory."""
        return buffer.offset(indices)[0]

    def neighbours(self, buffer: Buffer, indices: tuple[Index, ...]) -> bool:
        """Whether the lanes are neighbours that one access moves."""
        if self.lane is None or (buffer.local and not buffer.shared):
            return False
        lane, fixed = self.lane, self.offset(buffer, indices)
        if not fixed.is_linear_in(lane.variable) or fixed.coefficient(lane.variable) != 1:
            return False
        return (fixed.without(lane.variable)) % lane.count == Index()

    def _read(self, e: Read) -> Texts:
        key = (e.buffer.name, e.indices, e.bounds)
        if key not in self.loads:
            self.loads[key] = self._loaded(e)
        return self.loads[key]

    def _loaded(self, e: Read) -> Texts:
        inside = self.condition(e.bounds)
        zero = literal(0, e.buffer.dtype)
        if len(inside) == 1 and self.neighbours(e.buffer, e.indices):
            assert self.lane is not None
            lane = self.lane
            each = f"<{MEMORY[e.buffer.dtype]}, {lane.count}>"
            start = self.offset(e.buffer, e.indices).without(lane.variable)
            type, text = f"Lanes{each}", f"load{each}({e.buffer.name} + {self.index(start)})"
            name = self.name("r")
            guard = "" if inside[0] == "true" else f"{inside[0]} ? "
            self.line(f"const {type} {name} = {guard}{text}{f' : {type}{{}}' if guard else ''};")
            return tuple(f"{name}.at[{k}]" for k in range(lane.count))
        if self.lane is None or not any(
            self.lane.variable in i.variables for i in (*e.indices, *(b.value for b in e.bounds))
        ):
            lanes: list[tuple[Index, ...]] = [e.indices]
        else:
            at = [{self.lane.variable: k} for k in range(self.lane.count)]
            lanes = [tuple(i.at(numbers) for i in e.indices) for numbers in at]
        tests = inside * len(lanes) if len(inside) == 1 else inside
        texts = [self.place(e.buffer, indices) for indices in lanes]
        found = tuple(
            text if test == "true" else f"({test} ? {text} : {zero})"
            for text, test in zip(texts, tests, strict=True)
        )
        if e.buffer.local and not e.buffer.shared:
            return found
        return self.named(found, e.buffer.dtype)


def _above_zero(atom: Quotient | Remainder) -> tuple[Index, int]:
    """(value + divisor * whole, whole) such that the sum is not negative: C rounds to zero."""
    low, _ = atom.value.bounds()
    if low is None:
        raise InternalError(f"{atom} may be negative without bound")
    if low >= 0:
        return atom.value, 0
    whole = -(low // atom.divisor)
    return atom.value + whole * atom.divisor, whole
