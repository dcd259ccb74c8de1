"""One kernel's loops as an LLVM function.

Code is emitted loop by loop into nested lists of lines. Accumulators are allocas that SROA turns
into registers; parallel loops are split between threads by their extent alone, so results do not
depend on how many there are.
"""

from __future__ import annotations

from graphc.base.errors import InternalError
from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.language import (
    Accumulate,
    Allocate,
    For,
    Kernel,
    Prefetch,
    Statement,
    Store,
    Transpose,
)
from graphc_llvm.addresses import Lines, Scope
from graphc_llvm.bfloat16 import dot
from graphc_llvm.text import MEMORY, Builder, Module, Val, mangled, vector_type
from graphc_llvm.transpose import emit_transpose
from graphc_llvm.values import Evaluation

ARGUMENTS = "i64 %N, i64 %P, i64 %thread, i64 %threads"


class KernelEmitter(Evaluation):
    """Emits one kernel into a module."""

    def __init__(self, module: Module, kernel: Kernel, symbol: str) -> None:
        super().__init__(module)
        self.kernel, self.symbol = kernel, symbol

    def emit(self) -> None:
        """Adds the kernel's function to the module."""
        for statement in self.kernel.body:
            self._top(statement)
        buffers = (f"ptr %{b.name}" for b in self.kernel.buffers)
        arguments = ", ".join([*buffers, ARGUMENTS, "i64 %turn"])
        text = [f"define internal void @{self.symbol}({arguments}) {{", "entry:"]
        _flatten(self.entry, text)
        _flatten(self.scopes[0].lines, text)
        self.module.functions.append("\n".join([*text, "  ret void", "}"]))

    def _top(self, statement: Statement) -> None:
        """A statement of the kernel: parallel loops are split between threads, the rest runs on
        the one thread whose turn it is.
        """
        if isinstance(statement, For) and statement.mode == "parallel":
            total = self.index(statement.high[0])
            b = self.builder
            scaled = b.new(f"mul i64 {total}, %thread")
            low = b.new(f"udiv i64 {scaled}, %threads")
            scaled = b.new(f"add i64 {scaled}, {total}")
            high = b.new(f"udiv i64 {scaled}, %threads")
            self._loop(statement.variable, low, high, statement.body)
            return
        if isinstance(statement, For) and _holds_parallel(statement):
            first, end = self.index(statement.low[0]), self.index(statement.high[0])
            self._loop(statement.variable, first, end, statement.body)
            return
        b = self.builder
        mine = b.new("urem i64 %turn, %threads")
        low = b.new(f"icmp ne i64 {mine}, %thread")
        begin = b.new(f"zext i1 {low} to i64")
        self._loop(Variable("once"), begin, "1", (statement,))

    def statement(self, s: Statement) -> None:
        if isinstance(s, For) and s.mode == "parallel":
            self._top(s)
        elif isinstance(s, For):
            self._for(s)
        elif isinstance(s, Store):
            self._stores([s])
        elif isinstance(s, Accumulate):
            self._accumulate(s)
        elif isinstance(s, Allocate):
            self._allocate(s.buffer)
            self._block(s.body)
        elif isinstance(s, Prefetch):
            self._prefetch(s)
        elif isinstance(s, Transpose):
            emit_transpose(self, s)
        else:
            raise InternalError(f"{type(s).__name__} is no statement for processors")

    def _block(self, body: tuple[Statement, ...]) -> None:
        """Statements in order; stores that stand together read everything before they write
        anything.
        """
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
        scope = Scope(inner)
        self.scopes.append(scope)
        before = self.values, self.depths
        self.values = self.values | {variable: counter}
        self.depths = self.depths | {variable: len(self.scopes) - 1}
        self._block(body)
        self.scopes.pop()
        self.values, self.depths = before
        head.line(f"br label %{label}.latch")
        parent.lines.append(f"{label}.latch:")
        head.line(f"{counter}.next = add nsw i64 {counter}, 1")
        again = head.new(f"icmp slt i64 {counter}.next, {high}")
        head.line(f"br i1 {again}, label %{label}, label %{label}.end")
        parent.lines.append(f"{label}.end:")
        parent.hoisted = None
        parent.loads.clear()

    def _vector(self, s: For) -> None:
        before = self.lane, self.lanes, self.mask, self.alone
        self.lane, self.lanes, self.mask, self.alone = s.variable, s.lanes, None, False
        limits = [self._resolved(i) for i in s.high]
        partial = [i for i in limits if not (i.is_constant and i.constant >= s.lanes)]
        if partial:
            self.mask = self._below(partial[0])
            self.alone = partial[0] == index(1)
        self._block(s.body)
        self.lane, self.lanes, self.mask, self.alone = before

    def _below(self, limit: Index) -> str:
        """The mask of the lanes below `limit`."""
        scope = self.scopes[-1]
        key = ("mask", limit, self.lanes)
        if key not in scope.known:
            b = self.builder
            count = Val(b.new(f"trunc i64 {self.index(limit)} to i32"), DType.i32)
            type = vector_type("i32", self.lanes)
            numbers = ", ".join(f"i32 {k}" for k in range(self.lanes))
            scope.known[key] = b.new(
                f"icmp slt {type} <{numbers}>, {b.spread(count, self.lanes).text}"
            )
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
            if self.alone:  # LLVM 22 stores as many bytes as the lane had before it was narrowed
                first = b.new(f"extractelement {type} {text}, i32 0")
                b.line(f"store {element} {first}, ptr {pointer}, align {align}")
                return
            mask_type = vector_type("i1", self.lanes)
            name = self.module.declare(
                f"llvm.masked.store.{mangled(type)}.p0", "void", (type, "ptr", "i32", mask_type)
            )
            operands = f"{type} {text}, ptr {pointer}, i32 {align}, {mask_type} {self.mask}"
            b.line(f"call void {name}({operands})")
            return
        pointers = self._pointers(s.buffer, s.indices)
        kind, mask_type = vector_type("ptr", self.lanes), vector_type("i1", self.lanes)
        name = self.module.declare(
            f"llvm.masked.scatter.{mangled(type)}.v{self.lanes}p0",
            "void",
            (type, kind, "i32", mask_type),
        )
        mask = self.mask or "splat (i1 true)"
        b.line(
            f"call void {name}({type} {text}, {kind} {pointers}, i32 {align}, {mask_type} {mask})"
        )

    def _prefetch(self, s: Prefetch) -> None:
        """Into the first cache; nothing where lanes lie apart, for those would be many lines."""
        fixed, padded, stride = self._offset(s.buffer, s.indices)
        if stride != 1:
            return
        pointer = self.pointer(s.buffer, fixed, padded)
        name = self.module.declare("llvm.prefetch.p0", "void", ("ptr", "i32", "i32", "i32"))
        read, cache, data = 0, 3, 1
        self.builder.line(f"call void {name}(ptr {pointer}, i32 {read}, i32 {cache}, i32 {data})")

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
        products = s.combine in ("fma", "dot")
        factors = s.value.arguments if products else (s.value,)  # type: ignore[union-attr]
        values = [self.value(f, memo) for f in factors]
        if lanes:
            values = [b.spread(v, lanes) for v in values]
        old = Val(b.new(f"load {type}, ptr {slot}, align 64"), s.buffer.dtype, lanes)
        if s.combine == "fma":
            operands = [(type, v.text) for v in (*values, old)]
            text = b.call(f"llvm.fma.{mangled(type)}", type, *operands)
            new = Val(text, s.buffer.dtype, lanes)
        elif s.combine == "dot":
            new = dot(b, values[0], values[1], old)
        else:
            new = self._combine(s.combine, old, values[0])
        if self.mask is not None:
            new = self._masked(new, old)
        b.line(f"store {type} {new.text}, ptr {slot}, align 64")


def _holds_parallel(s: For) -> bool:
    """Whether loops repeat a parallel one: every thread goes through them."""
    if len(s.body) != 1 or not isinstance(s.body[0], For):
        return False
    return s.body[0].mode == "parallel" or _holds_parallel(s.body[0])


def _flatten(lines: Lines, into: list[str]) -> None:
    for line in lines:
        if isinstance(line, list):
            _flatten(line, into)
        else:
            into.append(str(line))
