"""Expressions of the loop language as LLVM values: reads, positions, conditions, functions.

Loads of one straight run of code are shared; what is one number for the whole kernel is computed
before all loops. A read whose bounds do not hold reads a constant zero instead, without a branch.
"""

from __future__ import annotations

from graphc.ir.index import Index
from graphc.ir.types import DType
from graphc.loops.language import BATCH, Expression, Lanes, Literal, Position, Read, Scalar
from graphc.loops.memory import Buffer
from graphc.ops.op import Bound
from graphc_llvm.addresses import Addressing
from graphc_llvm.scalar import emit as emit_scalar
from graphc_llvm.scalar import extreme
from graphc_llvm.text import MEMORY, Module, Val, literal, mangled, vector_type


class Evaluation(Addressing):
    """Values of expressions at the point that emission has reached."""

    def __init__(self, module: Module) -> None:
        super().__init__(module)
        self.invariants: dict[int, tuple[Expression, bool]] = {}
        self.numbers: dict[int, Val] = {}

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
                result = not (e.buffer.local or e.buffer.shape or e.bounds)
            else:
                result = isinstance(e, Literal) or (
                    isinstance(e, Position) and e.index.variables <= {BATCH}
                )
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
        return emit_scalar(
            self.builder, e.function, tuple(self.value(a, memo) for a in e.arguments), e.dtype
        )

    def _read(self, e: Read) -> Val:
        b = self.builder
        if e.buffer.local:
            lanes = self.lanes if self.lane is not None and e.buffer.shape else 0
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
            mask = (
                inside
                if mask is None
                else b.new(f"and {vector_type('i1', self.lanes)} {inside}, {mask}")
            )
        elif in_lanes:
            return self._gather(e, tuple(bounds))
        irregular = None if stride is not None else self._resolved_indices(e.indices)
        key = (
            e.buffer.name,
            fixed,
            padded,
            stride,
            irregular,
            tuple(bounds),
            mask,
            self.lanes if stride != 0 else 0,
        )
        loads = self.scopes[-1].loads
        if key not in loads:
            if stride is None or stride not in (0, 1):
                loads[key] = self._gather(e, tuple(bounds))
            else:
                loads[key] = self._load(e.buffer, fixed, padded, stride, tuple(uniform), mask)
        return loads[key]

    def _load(
        self,
        buffer: Buffer,
        fixed: Index,
        padded: Index,
        stride: int,
        uniform: tuple[Bound, ...],
        mask: str | None,
    ) -> Val:
        b = self.builder
        lanes = self.lanes if stride else 0
        pointer = self.pointer(buffer, fixed, padded)
        if uniform:
            test = self._within(uniform)
            pointer = b.new(f"select i1 {test.text}, ptr {pointer}, ptr @zeros")
        type, align = vector_type(MEMORY[buffer.dtype], lanes), buffer.dtype.itemsize
        if lanes and mask is not None:
            mask_type = vector_type("i1", lanes)
            zero = "zeroinitializer"
            text = b.call(
                f"llvm.masked.load.{mangled(type)}.p0",
                type,
                ("ptr", pointer),
                ("i32", str(align)),
                (mask_type, mask),
                (type, zero),
            )
        else:
            text = b.new(f"load {type}, ptr {pointer}, align {align}")
        return self._from_memory(Val(text, buffer.dtype, lanes))

    def _from_memory(self, loaded: Val) -> Val:
        if loaded.dtype is not DType.bool:
            return loaded
        type = vector_type("i8", loaded.lanes)
        zero = "zeroinitializer" if loaded.lanes else "0"
        return Val(
            self.builder.new(f"icmp ne {type} {loaded.text}, {zero}"), DType.bool, loaded.lanes
        )

    def _gather(self, e: Read, bounds: tuple[Bound, ...]) -> Val:
        b = self.builder
        pointers = self._pointers(e.buffer, e.indices)
        type, mask_type = (
            vector_type(MEMORY[e.buffer.dtype], self.lanes),
            vector_type("i1", self.lanes),
        )
        mask = self.mask or "splat (i1 true)"
        if bounds:
            inside = b.spread(self._within(bounds), self.lanes).text
            mask = inside if self.mask is None else b.new(f"and {mask_type} {inside}, {self.mask}")
        name = f"llvm.masked.gather.{mangled(type)}.v{self.lanes}p0"
        text = b.call(
            name,
            type,
            (vector_type("ptr", self.lanes), pointers),
            ("i32", str(e.buffer.dtype.itemsize)),
            (mask_type, mask),
            (type, "zeroinitializer"),
        )
        return self._from_memory(Val(text, e.buffer.dtype, self.lanes))

    def _across(self, e: Lanes) -> Val:
        """Halves combined until one lane is left: the same order on every machine with these
        lanes.
        """
        b = self.builder
        slot = self._slot(e.buffer, e.indices)
        lanes = int(e.buffer.shape[-1])  # type: ignore[arg-type]
        type = vector_type(MEMORY[e.buffer.dtype], lanes)
        value = Val(b.new(f"load {type}, ptr {slot}, align 64"), e.buffer.dtype, lanes)
        while value.lanes > 1:
            half = value.lanes // 2
            low = b.shuffle(value, value, range(half))
            high = b.shuffle(value, value, range(half, value.lanes))
            value = self._combine(e.combine, low, high)
        return Val(b.new(f"extractelement {value.type} {value.text}, i32 0"), value.dtype)

    def _combine(self, combine: str, x: Val, y: Val) -> Val:
        if combine == "sum":
            return emit_scalar(self.builder, "add", (x, y), x.dtype)
        return extreme(self.builder, combine, x, y)

    def _position(self, i: Index, dtype: DType) -> Val:
        i = self._resolved(i)
        if self.lane is None or self.lane not in i.variables:
            whole = Val(self.index(i), DType.i64)
        else:
            whole = Val(self._in_lanes(i, DType.i64), DType.i64, self.lanes)
        return emit_scalar(self.builder, "cast", (whole,), dtype)

    def _within(self, bounds: tuple[Bound, ...]) -> Val:
        """Whether all bounds hold, as one bool or one a lane."""
        b = self.builder
        result: Val | None = None
        for bound in bounds:
            resolved = self._bound(bound)
            if resolved is None:
                continue
            lanes = (
                self.lanes if self.lane is not None and self.lane in resolved.value.variables else 0
            )
            i = Val(
                self._in_lanes(resolved.value, DType.i64) if lanes else self.index(resolved.value),
                DType.i64,
                lanes,
            )
            high = Val("%N", DType.i64) if bound.high is None else Val(str(bound.high), DType.i64)
            for word, limit in (("sge", Val(str(bound.low), DType.i64)), ("slt", high)):
                wide = b.spread(limit, lanes) if lanes else limit
                test = Val(b.new(f"icmp {word} {i.type} {i.text}, {wide.text}"), DType.bool, lanes)
                result = (
                    test
                    if result is None
                    else emit_scalar(b, "logical_and", (result, test), DType.bool)
                )
        return result or literal(True, DType.bool)

    def _bound(self, bound: Bound) -> Bound | None:
        """The bound at this point; None if it certainly holds."""
        value = self._resolved(bound.value)
        low, high = value.bounds()
        if (
            low is not None
            and high is not None
            and bound.high is not None
            and low >= bound.low
            and high < bound.high
        ):
            return None
        return Bound(value, bound.low, bound.high)

    def _masked(self, value: Val, otherwise: Val) -> Val:
        mask_type = vector_type("i1", self.lanes)
        choices = f"{value.type} {value.text}, {value.type} {otherwise.text}"
        text = self.builder.new(f"select {mask_type} {self.mask}, {choices}")
        return Val(text, value.dtype, value.lanes)
