"""Indices and addresses as LLVM values.

An address is a chain of additions, each placed in the outermost loop in which all it needs is
known, so that inner loops hold little but loads and arithmetic. `Scope` makes that possible: it
keeps a list of lines in front of the loop that is open inside it. Knows indices and memory, no
statements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from graphc.base.errors import InternalError
from graphc.ir.index import Atom, Index, Quotient, Remainder, Variable
from graphc.ir.types import DType
from graphc.loops.language import BATCH
from graphc.loops.memory import PADDED, Buffer
from graphc_llvm.text import MEMORY, Builder, Module, Val, vector_type

Lines = list[object]


@dataclass
class Scope:
    """One loop level: where its code goes, where code for it goes while a loop inside is open,
    what is known.
    """

    lines: Lines
    hoisted: Lines | None = None
    known: dict[Any, str] = field(default_factory=dict)
    loads: dict[Any, Val] = field(default_factory=dict)

    @property
    def place(self) -> Lines:
        """Where code that belongs to this level goes now."""
        return self.lines if self.hoisted is None else self.hoisted


class Addressing:
    """The state of emission, and indices and addresses in it.

    scopes: open loops, outermost first. constants: numbers of unrolled variables. values and
    depths: of loop variables. lane, lanes, mask: the vector loop under way; alone: whether its mask
    leaves the first lane alone. locals: the alloca of each local element. arrays: names of those on
    the stack.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.entry: Lines = []
        self.scopes = [Scope([])]
        self.constants: dict[Variable, int] = {}
        self.values: dict[Variable, str] = {BATCH: "%N", PADDED: "%P"}
        self.depths: dict[Variable, int] = {BATCH: 0, PADDED: 0}
        self.locals: dict[tuple[str, tuple[int, ...]], str] = {}
        self.arrays: set[str] = set()
        self.lane: Variable | None = None
        self.lanes = 0
        self.mask: str | None = None
        self.alone = False
        self.offsets: dict[int, tuple[Any, Index, Index]] = {}

    @property
    def builder(self) -> Builder:
        """Appends to the innermost loop."""
        return Builder(self.module, self.scopes[-1].place)

    def _at(self, depth: int) -> Builder:
        return Builder(self.module, self.scopes[depth].place)

    def scratch(self, type: str) -> str:
        """Memory for what is written nowhere."""
        key = ("scratch", ())
        if key not in self.locals:
            self.locals[key] = "%" + self.module.name("scratch")
            self.entry.append(f"  {self.locals[key]} = alloca {type}, align 64")
        return self.locals[key]

    def _resolved(self, i: Index) -> Index:
        """`i` with unrolled variables replaced by their numbers."""
        return i.at(self.constants) if self.constants else i

    def _resolved_indices(self, indices: tuple[Index, ...]) -> tuple[Index, ...]:
        return tuple(map(self._resolved, indices))

    def _offset(
        self, buffer: Buffer, indices: tuple[Index, ...]
    ) -> tuple[Index, Index, int | None]:
        """(fixed, padded, lane stride): the offset of lane 0, and the elements from lane to
        lane, None if irregular.
        """
        key = id(indices)
        cached = self.offsets.get(key)
        if cached is None or cached[0] is not indices:
            cached = self.offsets[key] = (indices, *buffer.offset(indices))
        fixed, padded = self._resolved(cached[1]), self._resolved(cached[2])
        if self.lane is None:
            return fixed, padded, 0
        if not fixed.is_linear_in(self.lane) or self.lane in padded.variables:
            return fixed, padded, None
        return fixed.without(self.lane), padded, fixed.coefficient(self.lane)

    def pointer(self, buffer: Buffer, fixed: Index, padded: Index) -> str:
        """The address at fixed + padded * P: the loop-dependent part first, so that neighbours
        share it.
        """
        element = MEMORY[buffer.dtype]
        pointer = self._moving(buffer, Index(fixed.terms), Index(padded.terms))
        depth = max(self._depth(fixed), self._depth(padded))
        if padded.constant:
            key = ("pointer", buffer.name, fixed.terms, padded)
            known = self.scopes[depth].known
            if key not in known:
                step = self._scaled("%P", padded.constant, 0)
                known[key] = self._at(depth).new(
                    f"getelementptr {element}, ptr {pointer}, i64 {step}"
                )
            pointer = known[key]
        if not fixed.constant:
            return pointer
        return self.builder.new(f"getelementptr {element}, ptr {pointer}, i64 {fixed.constant}")

    def _moving(self, buffer: Buffer, fixed: Index, padded: Index) -> str:
        depth = max(self._depth(fixed), self._depth(padded))
        if not fixed.terms and not padded.terms:
            return f"%{buffer.name}"
        known = self.scopes[depth].known
        key = ("moving", buffer.name, fixed, padded)
        if key in known:
            return known[key]
        here_fixed, rest_fixed = self._split(fixed, depth)
        here_padded, rest_padded = self._split(padded, depth)
        pointer = self._moving(buffer, rest_fixed, rest_padded)
        b, element = self._at(depth), MEMORY[buffer.dtype]
        if here_padded.terms:
            step = self._scaled_by_padding(here_padded, depth)
            pointer = b.new(f"getelementptr {element}, ptr {pointer}, i64 {step}")
        if here_fixed.terms:
            pointer = b.new(f"getelementptr {element}, ptr {pointer}, i64 {self.index(here_fixed)}")
        known[key] = pointer
        return pointer

    def _scaled_by_padding(self, i: Index, depth: int) -> str:
        """i * P at `depth`: one multiplication with a product of P that is known outside of all
        loops.
        """
        if len(i.terms) == 1 and i.constant == 0:
            atom, factor = i.terms[0]
            step = self._scaled("%P", factor, 0)
            return self._at(depth).new(f"mul i64 {self.index(Index(((atom, 1),)))}, {step}")
        return self._at(depth).new(f"mul i64 {self.index(i)}, %P")

    def _scaled(self, value: str, factor: int, depth: int) -> str:
        if factor == 1:
            return value
        known = self.scopes[depth].known
        key = ("scaled", value, factor)
        if key not in known:
            known[key] = self._at(depth).new(f"mul i64 {value}, {factor}")
        return known[key]

    def _split(self, i: Index, depth: int) -> tuple[Index, Index]:
        here: list[tuple[Atom, int]] = []
        rest: list[tuple[Atom, int]] = []
        for term in i.terms:
            atom = term[0]
            own = self.depths[atom] if isinstance(atom, Variable) else self._depth(atom.value)
            (here if own == depth else rest).append(term)
        return Index(tuple(here)), Index(tuple(rest), i.constant)

    def _depth(self, i: Index) -> int:
        return max(map(self.depths.__getitem__, i.variables), default=0)

    def index(self, i: Index) -> str:
        """An index without the lane, as an i64."""
        i = self._resolved(i)
        if i.is_constant:
            return str(i.constant)
        depth = self._depth(i)
        known = self.scopes[depth].known
        key = ("index", i)
        if key in known:
            return known[key]
        here, rest = self._split(i, depth)
        b = self._at(depth)
        total: str | None = None if rest == Index() else self.index(rest)
        for atom, factor in here.terms:
            part = self._atom(atom, b)
            if factor != 1:
                part = b.new(f"mul i64 {part}, {factor}")
            total = part if total is None else b.new(f"add i64 {total}, {part}")
        assert total is not None
        known[key] = total
        return total

    def _atom(self, atom: Atom, b: Builder) -> str:
        if isinstance(atom, Variable):
            return self.values[atom]
        shifted, whole = _above_zero(atom)
        inner = self.index(shifted)
        if isinstance(atom, Remainder):
            return b.new(f"urem i64 {inner}, {atom.divisor}")
        result = b.new(f"udiv i64 {inner}, {atom.divisor}")
        return b.new(f"sub i64 {result}, {whole}") if whole else result

    def _in_lanes(self, i: Index, dtype: DType) -> str:
        """An index in every lane, as a vector of i64."""
        assert self.lane is not None
        i = self._resolved(i)
        b, type = self.builder, vector_type("i64", self.lanes)
        outside = Index(
            tuple(t for t in i.terms if self.lane not in Index((t,)).variables), i.constant
        )
        total = b.spread(Val(self.index(outside), DType.i64), self.lanes).text
        for atom, factor in i.terms:
            if self.lane not in Index(((atom, 1),)).variables:
                continue
            part = self._atom_in_lanes(atom)
            if factor != 1:
                part = b.new(f"mul {type} {part}, splat (i64 {factor})")
            total = b.new(f"add {type} {total}, {part}")
        return total

    def _atom_in_lanes(self, atom: Atom) -> str:
        b, type = self.builder, vector_type("i64", self.lanes)
        if isinstance(atom, Variable):
            return "<" + ", ".join(f"i64 {k}" for k in range(self.lanes)) + ">"
        shifted, whole = _above_zero(atom)
        inner = self._in_lanes(shifted, DType.i64)
        divisor = f"splat (i64 {atom.divisor})"
        if isinstance(atom, Remainder):
            return b.new(f"urem {type} {inner}, {divisor}")
        result = b.new(f"udiv {type} {inner}, {divisor}")
        return b.new(f"sub {type} {result}, splat (i64 {whole})") if whole else result

    def _pointers(self, buffer: Buffer, indices: tuple[Index, ...]) -> str:
        """The address of each lane's element."""
        b = self.builder
        fixed, padded = buffer.offset(self._resolved_indices(indices))
        offsets = self._in_lanes(fixed, DType.i64)
        if padded != Index():
            type = vector_type("i64", self.lanes)
            wide = b.spread(Val("%P", DType.i64), self.lanes).text
            scaled = b.new(f"mul {type} {self._in_lanes(padded, DType.i64)}, {wide}")
            offsets = b.new(f"add {type} {offsets}, {scaled}")
        type = vector_type("i64", self.lanes)
        return b.new(f"getelementptr {MEMORY[buffer.dtype]}, ptr %{buffer.name}, {type} {offsets}")

    def _slot(self, buffer: Buffer, indices: tuple[Index, ...]) -> str:
        """The alloca of one element (or vector) of a local array."""
        at = [self._resolved(i) for i in indices]
        in_lanes = [i for i in at if self.lane is not None and self.lane in i.variables]
        numbers = tuple(i.constant for i in at if i.is_constant)
        if len(numbers) + len(in_lanes) != len(at):
            raise InternalError(
                f"a local array is indexed by {', '.join(map(str, at))}, which is no number"
            )
        rank = len(buffer.shape)
        is_vector = bool(in_lanes) or len(at) < rank
        lanes = int(buffer.shape[-1]) if is_vector else 0  # type: ignore[arg-type]
        key = (buffer.name, numbers)
        if key not in self.locals:
            name = "%" + self.module.name(f"{buffer.name}.")
            self.entry.append(
                f"  {name} = alloca {vector_type(MEMORY[buffer.dtype], lanes)}, align 64"
            )
            self.locals[key] = name
        return self.locals[key]

    def _allocate(self, buffer: Buffer) -> None:
        """A new array of that name begins: registers, or memory on the stack that stays."""
        if not buffer.local:
            if buffer.name not in self.arrays:
                self.arrays.add(buffer.name)
                size = math.prod(buffer.shape)  # type: ignore[arg-type]
                element = MEMORY[buffer.dtype]
                self.entry.append(f"  %{buffer.name} = alloca [{size} x {element}], align 64")
            return
        for key in [k for k in self.locals if k[0] == buffer.name]:
            del self.locals[key]


def _above_zero(atom: Quotient | Remainder) -> tuple[Index, int]:
    """(value + divisor * whole, whole) such that the sum is not negative."""
    low, _ = atom.value.bounds()
    if low is not None and low >= 0:
        return atom.value, 0
    if low is None:
        if all(c > 0 for _, c in atom.value.terms) and atom.value.constant >= 0:
            return atom.value, 0
        raise InternalError(f"{atom} may be negative without bound")
    whole = -(low // atom.divisor)
    return atom.value + whole * atom.divisor, whole
