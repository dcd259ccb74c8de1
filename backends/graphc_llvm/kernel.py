"""One kernel's loops as an LLVM function.

Code is emitted loop by loop into nested lists of lines. An address is a chain of additions, each placed in the
outermost loop in which all it needs is known, so that inner loops hold little but loads and arithmetic; the lists are
what makes it possible to add to a loop's preheader after the loop was begun. Accumulators are allocas that SROA turns
into registers. Loads of one straight run of code are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphc.base.errors import InternalError
from graphc.ir.index import Index, Quotient, Remainder, Variable, index
from graphc.ir.types import DType
from graphc.loops.language import (
    BATCH,
    PADDED,
    Accumulate,
    Allocate,
    Buffer,
    Expression,
    For,
    Kernel,
    Lanes,
    Literal,
    Position,
    Read,
    Scalar,
    Statement,
    Store,
)
from graphc.ops.op import Bound
from graphc_llvm.scalar import emit as emit_scalar
from graphc_llvm.scalar import extreme
from graphc_llvm.transpose import emit_transpose
from graphc_llvm.text import MEMORY, Builder, Module, Val, literal, mangled, vector_type

Lines = list[object]
ARGUMENTS = "i64 %N, i64 %P, i64 %thread, i64 %threads"


@dataclass
class Scope:
    """One loop level: where its code goes, where code for it goes while a loop inside is open, what is known."""

    lines: Lines
    hoisted: Lines | None = None
    known: dict[Any, str] = field(default_factory=dict)
    loads: dict[Any, Val] = field(default_factory=dict)
    variables: set[Variable] = field(default_factory=set)

    @property
    def place(self) -> Lines:
        """Where code that belongs to this level goes now."""
        return self.lines if self.hoisted is None else self.hoisted


class KernelEmitter:
    """Emits one kernel into a module."""

    def __init__(self, module: Module, kernel: Kernel, symbol: str, thread: int) -> None:
        self.module, self.kernel, self.symbol = module, kernel, symbol
        self.serial_thread = thread
        self.entry: Lines = []
        self.scopes = [Scope([])]
        self.constants: dict[Variable, int] = {}
        self.values: dict[Variable, str] = {BATCH: "%N", PADDED: "%P"}
        self.depths: dict[Variable, int] = {BATCH: 0, PADDED: 0}
        self.locals: dict[tuple[str, tuple[int, ...]], str] = {}
        self.lane: Variable | None = None
        self.lanes = 0
        self.mask: str | None = None
        self.offsets: dict[int, tuple[Any, Index, Index]] = {}
        self.invariants: dict[int, tuple[Expression, bool]] = {}
        self.numbers: dict[int, Val] = {}

    def emit(self) -> None:
        """Adds the kernel's function to the module."""
        for statement in self.kernel.body:
            self._top(statement)
        arguments = ", ".join([*(f"ptr %{b.name}" for b in self.kernel.buffers), ARGUMENTS])
        text = [f"define internal void @{self.symbol}({arguments}) {{", "entry:"]
        _flatten(self.entry, text)
        _flatten(self.scopes[0].lines, text)
        self.module.functions.append("\n".join([*text, "  ret void", "}"]))

    @property
    def builder(self) -> Builder:
        return Builder(self.module, self.scopes[-1].place)

    def _at(self, depth: int) -> Builder:
        return Builder(self.module, self.scopes[depth].place)

    # -- statements --------------------------------------------------------------------------------------------------

    def _top(self, statement: Statement) -> None:
        """A statement of the kernel: parallel loops are split between threads, the rest runs on one thread."""
        if isinstance(statement, For) and statement.mode == "parallel":
            total = self.index(statement.high[0])
            b = self.builder
            scaled = b.new(f"mul i64 {total}, %thread")
            low = b.new(f"udiv i64 {scaled}, %threads")
            scaled = b.new(f"add i64 {scaled}, {total}")
            high = b.new(f"udiv i64 {scaled}, %threads")
            self._loop(statement.variable, low, high, statement.body)
            return
        b = self.builder
        mine = b.new(f"urem i64 {self.serial_thread}, %threads")
        low = b.new(f"icmp ne i64 {mine}, %thread")
        begin = b.new(f"zext i1 {low} to i64")
        self._loop(Variable("once"), begin, "1", (statement,))

    def statement(self, s: Statement) -> None:
        if isinstance(s, For):
            self._for(s)
        elif isinstance(s, Store):
            self._stores([s])
        elif isinstance(s, Accumulate):
            self._accumulate(s)
        elif isinstance(s, Allocate):
            self._forget(s.buffer)
            self._block(s.body)
        else:
            emit_transpose(self, s)

    def _block(self, body: tuple[Statement, ...]) -> None:
        """Statements in order; stores that stand together read everything before they write anything."""
        pending: list[Store] = []
        for s in body:
            if isinstance(s, Store):
                pending.append(s)
                continue
            self._stores(pending)
            pending = []
            self.statement(s)
        self._stores(pending)

    def _for(self, s: For) -> None:
        if s.mode == "unroll":
            extent = self._resolved(s.high[0]).constant
            for value in range(extent):
                self.constants[s.variable] = value
                self._block(s.body)
            self.constants.pop(s.variable, None)
            return
        if s.mode == "vector":
            self._vector(s)
            return
        lows, highs = [self._resolved(i) for i in s.low], [self._resolved(i) for i in s.high]
        if all(i.is_constant for i in (*lows, *highs)):
            low, high = max(i.constant for i in lows), min(i.constant for i in highs)
            if high <= low:
                return
            if high == low + 1:
                self.constants[s.variable] = low
                self._block(s.body)
                self.constants.pop(s.variable)
                return
        self._loop(s.variable, self._extreme(lows, "smax"), self._extreme(highs, "smin"), s.body)

    def _extreme(self, indices: list[Index], name: str) -> str:
        found = list(dict.fromkeys(self.index(i) for i in indices))
        result = found[0]
        for other in found[1:]:
            result = self.builder.call(f"llvm.{name}.i64", "i64", ("i64", result), ("i64", other))
        return result

    def _loop(self, variable: Variable, low: str, high: str, body: tuple[Statement, ...]) -> None:
        """A loop that tests at its end, behind one test whether it runs at all."""
        parent = self.scopes[-1]
        label = self.module.name("loop")
        hoisted, inner = Lines(), Lines()
        counter = f"%{variable.name}.{label}"
        head = Builder(self.module, parent.lines)
        parent.lines.append(hoisted)
        parent.hoisted = hoisted
        test = head.new(f"icmp slt i64 {low}, {high}")
        head.line(f"br label %{label}.guard")
        parent.lines.append(f"{label}.guard:")
        head.line(f"br i1 {test}, label %{label}, label %{label}.end")
        parent.lines.append(f"{label}:")
        head.line(f"{counter} = phi i64 [{low}, %{label}.guard], [{counter}.next, %{label}.latch]")
        parent.lines.append(inner)
        scope = Scope(inner, variables={variable})
        self.scopes.append(scope)
        outer = self.values.get(variable), self.depths.get(variable)
        self.values[variable], self.depths[variable] = counter, len(self.scopes) - 1
        self._block(body)
        self.scopes.pop()
        del self.values[variable], self.depths[variable]
        if outer[0] is not None and outer[1] is not None:
            self.values[variable], self.depths[variable] = outer
        head.line(f"br label %{label}.latch")
        parent.lines.append(f"{label}.latch:")
        head.line(f"{counter}.next = add nsw i64 {counter}, 1")
        again = head.new(f"icmp slt i64 {counter}.next, {high}")
        head.line(f"br i1 {again}, label %{label}, label %{label}.end")
        parent.lines.append(f"{label}.end:")
        parent.hoisted = None
        parent.loads.clear()

    def _vector(self, s: For) -> None:
        before = self.lane, self.lanes, self.mask
        self.lane, self.lanes, self.mask = s.variable, s.lanes, None
        limits = [self._resolved(i) for i in s.high]
        partial = [i for i in limits if not (i.is_constant and i.constant >= s.lanes)]
        if partial:
            self.mask = self._below(partial[0])
        self._block(s.body)
        self.lane, self.lanes, self.mask = before

    def _below(self, limit: Index) -> str:
        """The mask of the lanes below `limit`."""
        scope = self.scopes[-1]
        key = ("mask", limit, self.lanes)
        if key not in scope.known:
            b = self.builder
            count = Val(b.new(f"trunc i64 {self.index(limit)} to i32"), DType.i32)
            type = vector_type("i32", self.lanes)
            numbers = ", ".join(f"i32 {k}" for k in range(self.lanes))
            scope.known[key] = b.new(f"icmp slt {type} <{numbers}>, {b.spread(count, self.lanes).text}")
        return scope.known[key]

    def _stores(self, stores: list[Store]) -> None:
        memo: dict[int, Val] = {}
        values = [self.value(s.value, memo) for s in stores]
        for s, value in zip(stores, values, strict=True):
            self._store(s, value)

    def _store(self, s: Store, value: Val) -> None:
        b = self.builder
        if s.buffer.local:
            slot = self._slot(s.buffer, s.indices)
            if self.lane is not None and s.buffer.shape and s.buffer.shape[-1] == self.lanes:
                value = b.spread(value, self.lanes)
            b.line(f"store {value.type} {value.text}, ptr {slot}, align 64")
            return
        fixed, padded, stride = self._offset(s.buffer, s.indices)
        for scope in self.scopes:
            for key in [k for k in scope.loads if k[0] == s.buffer.name]:
                del scope.loads[key]
        element = MEMORY[s.buffer.dtype]
        if s.buffer.dtype is DType.bool:
            to = vector_type("i8", value.lanes)
            value = Val(b.new(f"zext {value.type} {value.text} to {to}"), value.dtype, value.lanes)
        if self.lane is None:
            pointer = self.pointer(s.buffer, fixed, padded)
            b.line(f"store {element} {value.text}, ptr {pointer}, align {s.buffer.dtype.itemsize}")
            return
        type = vector_type(element, self.lanes)
        text = value.text if value.lanes else self._spread_text(value.text, element)
        align = s.buffer.dtype.itemsize
        if stride == 1:
            pointer = self.pointer(s.buffer, fixed, padded)
            if self.mask is None:
                b.line(f"store {type} {text}, ptr {pointer}, align {align}")
                return
            mask_type = vector_type("i1", self.lanes)
            name = self.module.declare(
                f"llvm.masked.store.{mangled(type)}.p0", "void", (type, "ptr", "i32", mask_type)
            )
            b.line(f"call void {name}({type} {text}, ptr {pointer}, i32 {align}, {mask_type} {self.mask})")
            return
        pointers = self._pointers(s.buffer, s.indices)
        kind, mask_type = vector_type("ptr", self.lanes), vector_type("i1", self.lanes)
        name = self.module.declare(
            f"llvm.masked.scatter.{mangled(type)}.v{self.lanes}p0", "void", (type, kind, "i32", mask_type)
        )
        mask = self.mask or "splat (i1 true)"
        b.line(f"call void {name}({type} {text}, {kind} {pointers}, i32 {align}, {mask_type} {mask})")

    def _spread_text(self, text: str, element: str) -> str:
        type = vector_type(element, self.lanes)
        first = self.builder.new(f"insertelement {type} poison, {element} {text}, i32 0")
        zeros = f"<{self.lanes} x i32> zeroinitializer"
        return self.builder.new(f"shufflevector {type} {first}, {type} poison, {zeros}")

    def _accumulate(self, s: Accumulate) -> None:
        if not s.buffer.local:
            raise InternalError("only local arrays accumulate")
        slot = self._slot(s.buffer, s.indices)
        b = self.builder
        lanes = self.lanes if self.lane is not None else 0
        type = vector_type(MEMORY[s.buffer.dtype], lanes)
        memo: dict[int, Val] = {}
        masked = self.mask is not None
        if s.combine == "fma" and isinstance(s.value, Scalar) and not (masked and s.value.function != "mul"):
            x, y = (self.value(a, memo) for a in s.value.arguments)
            if lanes:
                x, y = b.spread(x, lanes), b.spread(y, lanes)
            if masked:  # a masked load gives 0, but 0 * inf would be nan: mask both factors' product
                x, y = (self._masked(v, literal(0.0, v.dtype, lanes)) for v in (x, y))
            old = b.new(f"load {type}, ptr {slot}, align 64")
            result = b.call(f"llvm.fma.{mangled(type)}", type, (type, x.text), (type, y.text), (type, old))
            b.line(f"store {type} {result}, ptr {slot}, align 64")
            return
        value = self.value(s.value, memo)
        if lanes:
            value = b.spread(value, lanes)
        old = Val(b.new(f"load {type}, ptr {slot}, align 64"), s.buffer.dtype, lanes)
        combine = "sum" if s.combine == "fma" else s.combine
        new = self._combine(combine, old, value)
        if masked:
            new = self._masked(new, old)
        b.line(f"store {type} {new.text}, ptr {slot}, align 64")

    def _masked(self, value: Val, otherwise: Val) -> Val:
        mask_type = vector_type("i1", self.lanes)
        text = f"select {mask_type} {self.mask}, {value.type} {value.text}, {value.type} {otherwise.text}"
        return Val(self.builder.new(text), value.dtype, value.lanes)

    def _combine(self, combine: str, x: Val, y: Val) -> Val:
        if combine == "sum":
            return emit_scalar(self.builder, "add", (x, y), x.dtype)
        return extreme(self.builder, combine, x, y)

    # -- expressions -------------------------------------------------------------------------------------------------

    def value(self, e: Expression, memo: dict[int, Val]) -> Val:
        """The value of an expression; `memo` shares parts of one statement."""
        found = memo.get(id(e))
        if found is None:
            invariant = isinstance(e, Scalar) and self._is_invariant(e)
            found = memo[id(e)] = self._once(e) if invariant else self._value(e, memo)
        return found

    def _is_invariant(self, e: Expression) -> bool:
        """Whether `e` is one number for the whole kernel: it reads scalars alone."""
        known = self.invariants.get(id(e))
        if known is None or known[0] is not e:
            if isinstance(e, Scalar):
                result = not e.bounds and all(map(self._is_invariant, e.arguments))
            elif isinstance(e, Read):
                result = not e.buffer.local and not e.buffer.shape
            else:
                result = isinstance(e, Literal) or (isinstance(e, Position) and e.index.variables <= {BATCH})
            known = self.invariants[id(e)] = (e, result)
        return known[1]

    def _once(self, e: Expression) -> Val:
        """The value of an invariant expression, computed before all loops."""
        found = self.numbers.get(id(e))
        if found is None:
            inner, self.scopes = self.scopes, self.scopes[:1]
            lane, self.lane = self.lane, None
            found = self.numbers[id(e)] = self._value(e, {})
            self.scopes, self.lane = inner, lane
        return found

    def _value(self, e: Expression, memo: dict[int, Val]) -> Val:
        if isinstance(e, Literal):
            return literal(e.value, e.dtype)
        if isinstance(e, Read):
            return self._read(e)
        if isinstance(e, Lanes):
            return self._across(e)
        if isinstance(e, Position):
            return self._position(e.index, e.dtype)
        if e.function == "within":
            return self._within(e.bounds)
        return emit_scalar(self.builder, e.function, tuple(self.value(a, memo) for a in e.arguments), e.dtype)

    def _read(self, e: Read) -> Val:
        b = self.builder
        if e.buffer.local:
            lanes = self.lanes if self.lane is not None else 0
            type = vector_type(MEMORY[e.buffer.dtype], lanes)
            slot = self._slot(e.buffer, e.indices)
            return Val(b.new(f"load {type}, ptr {slot}, align 64"), e.buffer.dtype, lanes)
        fixed, padded, stride = self._offset(e.buffer, e.indices)
        bounds = [b for b in (self._bound(b) for b in e.bounds) if b is not None]
        in_lanes = [b for b in bounds if self.lane is not None and self.lane in b.value.variables]
        uniform = [b for b in bounds if b not in in_lanes]
        mask = self.mask
        if stride != 0 and in_lanes:
            inside = self._within(tuple(in_lanes)).text
            mask = inside if mask is None else b.new(f"and {vector_type('i1', self.lanes)} {inside}, {mask}")
        elif in_lanes:
            return self._gather(e, tuple(bounds))
        irregular = None if stride is not None else self._resolved_indices(e.indices)
        key = (e.buffer.name, fixed, padded, stride, irregular, tuple(bounds), mask, self.lanes if stride != 0 else 0)
        loads = self.scopes[-1].loads
        if key not in loads:
            if stride is None or stride not in (0, 1):
                loads[key] = self._gather(e, tuple(bounds))
            else:
                loads[key] = self._load(e.buffer, fixed, padded, stride, tuple(uniform), mask)
        return loads[key]

    def _load(self, buffer: Buffer, fixed: Index, padded: Index, stride: int, uniform: tuple[Bound, ...],
              mask: str | None) -> Val:  # fmt: skip
        b = self.builder
        lanes = self.lanes if stride else 0
        pointer = self.pointer(buffer, fixed, padded)
        if uniform:
            test = self._within(uniform, scalar=True)
            pointer = b.new(f"select i1 {test.text}, ptr {pointer}, ptr @zeros")
        type, align = vector_type(MEMORY[buffer.dtype], lanes), buffer.dtype.itemsize
        if lanes and mask is not None:
            mask_type = vector_type("i1", lanes)
            zero = "zeroinitializer"
            text = b.call(f"llvm.masked.load.{mangled(type)}.p0", type, ("ptr", pointer), ("i32", str(align)),
                          (mask_type, mask), (type, zero))  # fmt: skip
        else:
            text = b.new(f"load {type}, ptr {pointer}, align {align}")
        return self._from_memory(Val(text, buffer.dtype, lanes))

    def _from_memory(self, loaded: Val) -> Val:
        if loaded.dtype is not DType.bool:
            return loaded
        type = vector_type("i8", loaded.lanes)
        zero = "zeroinitializer" if loaded.lanes else "0"
        return Val(self.builder.new(f"icmp ne {type} {loaded.text}, {zero}"), DType.bool, loaded.lanes)

    def _gather(self, e: Read, bounds: tuple[Bound, ...]) -> Val:
        b = self.builder
        pointers = self._pointers(e.buffer, e.indices)
        type, mask_type = vector_type(MEMORY[e.buffer.dtype], self.lanes), vector_type("i1", self.lanes)
        mask = self.mask or "splat (i1 true)"
        if bounds:
            inside = b.spread(self._within(bounds), self.lanes).text
            mask = inside if self.mask is None else b.new(f"and {mask_type} {inside}, {self.mask}")
        name = f"llvm.masked.gather.{mangled(type)}.v{self.lanes}p0"
        text = b.call(name, type, (vector_type("ptr", self.lanes), pointers), ("i32", str(e.buffer.dtype.itemsize)),
                      (mask_type, mask), (type, "zeroinitializer"))  # fmt: skip
        return self._from_memory(Val(text, e.buffer.dtype, self.lanes))

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

    def _across(self, e: Lanes) -> Val:
        """Halves combined until one lane is left: the same order on every machine with these lanes."""
        b = self.builder
        slot = self._slot(e.buffer, e.indices)
        lanes = int(e.buffer.shape[-1])  # type: ignore[arg-type]
        type = vector_type(MEMORY[e.buffer.dtype], lanes)
        value = Val(b.new(f"load {type}, ptr {slot}, align 64"), e.buffer.dtype, lanes)
        while value.lanes > 1:
            half = value.lanes // 2
            parts = []
            for start in (0, half):
                picks = ", ".join(f"i32 {start + k}" for k in range(half))
                text = f"shufflevector {value.type} {value.text}, {value.type} poison, <{half} x i32> <{picks}>"
                parts.append(Val(b.new(text), value.dtype, half))
            value = self._combine(e.combine, parts[0], parts[1])
        return Val(b.new(f"extractelement {value.type} {value.text}, i32 0"), value.dtype)

    def _position(self, i: Index, dtype: DType) -> Val:
        i = self._resolved(i)
        if self.lane is None or self.lane not in i.variables:
            whole = Val(self.index(i), DType.i64)
        else:
            whole = Val(self._in_lanes(i, DType.i64), DType.i64, self.lanes)
        return emit_scalar(self.builder, "cast", (whole,), dtype)

    def _within(self, bounds: tuple[Bound, ...], scalar: bool = False) -> Val:
        """Whether all bounds hold, as one bool or one a lane."""
        b = self.builder
        result: Val | None = None
        for bound in bounds:
            resolved = self._bound(bound)
            if resolved is None:
                continue
            lanes = self.lanes if self.lane is not None and self.lane in resolved.value.variables else 0
            i = Val(self._in_lanes(resolved.value, DType.i64) if lanes else self.index(resolved.value), DType.i64, lanes)
            high = Val("%N", DType.i64) if bound.high is None else Val(str(bound.high), DType.i64)
            for word, limit in (("sge", Val(str(bound.low), DType.i64)), ("slt", high)):
                wide = b.spread(limit, lanes) if lanes else limit
                test = Val(b.new(f"icmp {word} {i.type} {i.text}, {wide.text}"), DType.bool, lanes)
                result = test if result is None else emit_scalar(b, "logical_and", (result, test), DType.bool)
        return result or literal(True, DType.bool)

    def _bound(self, bound: Bound) -> Bound | None:
        """The bound at this point; None if it certainly holds."""
        value = self._resolved(bound.value)
        low, high = value.bounds()
        if low is not None and high is not None and bound.high is not None and low >= bound.low and high < bound.high:
            return None
        return Bound(value, bound.low, bound.high)

    # -- indices and addresses ---------------------------------------------------------------------------------------

    def _resolved(self, i: Index) -> Index:
        """`i` with unrolled variables replaced by their numbers."""
        if not self.constants or not (i.variables & self.constants.keys()):
            return i
        return i.substitute({v: index(c) for v, c in self.constants.items()})

    def _resolved_indices(self, indices: tuple[Index, ...]) -> tuple[Index, ...]:
        return tuple(map(self._resolved, indices))

    def _offset(self, buffer: Buffer, indices: tuple[Index, ...]) -> tuple[Index, Index, int | None]:
        """(fixed, padded, lane stride): the offset of lane 0, and the elements from lane to lane, None if irregular."""
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
        """The address at fixed + padded * P: the loop-dependent part first, so that neighbours share it."""
        element = MEMORY[buffer.dtype]
        pointer = self._moving(buffer, Index(fixed.terms), Index(padded.terms))
        depth = max(self._depth(fixed), self._depth(padded))
        if padded.constant:
            key = ("pointer", buffer.name, fixed.terms, padded)
            known = self.scopes[depth].known
            if key not in known:
                step = self._scaled("%P", padded.constant, 0)
                known[key] = self._at(depth).new(f"getelementptr {element}, ptr {pointer}, i64 {step}")
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
        """i * P at `depth`: one multiplication with a product of P that is known outside of all loops."""
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
        here = tuple(t for t in i.terms if self._depth(Index((t,))) == depth)
        rest = tuple(t for t in i.terms if self._depth(Index((t,))) != depth)
        return Index(here), Index(rest, i.constant)

    def _depth(self, i: Index) -> int:
        return max((self.depths[v] for v in i.variables), default=0)

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

    def _atom(self, atom: Variable | Quotient | Remainder, b: Builder) -> str:
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
        outside = Index(tuple(t for t in i.terms if self.lane not in Index((t,)).variables), i.constant)
        total = b.spread(Val(self.index(outside), DType.i64), self.lanes).text
        for atom, factor in i.terms:
            if self.lane not in Index(((atom, 1),)).variables:
                continue
            part = self._atom_in_lanes(atom)
            if factor != 1:
                part = b.new(f"mul {type} {part}, splat (i64 {factor})")
            total = b.new(f"add {type} {total}, {part}")
        return total

    def _atom_in_lanes(self, atom: Variable | Quotient | Remainder) -> str:
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

    def _slot(self, buffer: Buffer, indices: tuple[Index, ...]) -> str:
        """The alloca of one element (or vector) of a local array."""
        at = [self._resolved(i) for i in indices]
        in_lanes = [i for i in at if self.lane is not None and self.lane in i.variables]
        numbers = tuple(i.constant for i in at if i.is_constant)
        if len(numbers) + len(in_lanes) != len(at):
            raise InternalError(f"a local array is indexed by {', '.join(map(str, at))}, which is no number")
        rank = len(buffer.shape)
        is_vector = bool(in_lanes) or len(at) < rank
        lanes = int(buffer.shape[-1]) if is_vector else 0  # type: ignore[arg-type]
        key = (buffer.name, numbers)
        if key not in self.locals:
            name = "%" + self.module.name(buffer.name)
            self.entry.append(f"  {name} = alloca {vector_type(MEMORY[buffer.dtype], lanes)}, align 64")
            self.locals[key] = name
        return self.locals[key]

    def _forget(self, buffer: Buffer) -> None:
        """A new array of that name begins."""
        for key in [k for k in self.locals if k[0] == buffer.name]:
            del self.locals[key]

    def scratch(self, type: str) -> str:
        """Memory for what is written nowhere."""
        key = ("scratch", ())
        if key not in self.locals:
            self.locals[key] = "%" + self.module.name("scratch")
            self.entry.append(f"  {self.locals[key]} = alloca {type}, align 64")
        return self.locals[key]


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


def _flatten(lines: Lines, into: list[str]) -> None:
    for line in lines:
        if isinstance(line, list):
            _flatten(line, into)
        else:
            into.append(str(line))
