"""Kernels for a graphics processor as plain loops, which any backend for processors can run.

Thread loops mean the same when their steps run one after the other, so they become serial loops,
and so do blocks. Arrays of a block's own become buffers of the kernel (`scratch`), copies are made
at once, and what tensor cores do is written out number by number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.base.errors import InternalError
from graphc.ir.index import Index, Variable, index
from graphc.ir.types import DType
from graphc.loops.gpu.device import WARP
from graphc.loops.gpu.fragments import (
    COLUMN,
    INSTRUCTIONS,
    ROW,
    TARGET,
    WARP_NUMBER,
    WARPGROUP,
    WARPGROUP_THREADS,
    Fragment,
    WarpgroupInstruction,
)
from graphc.loops.gpu.launch import launch_of
from graphc.loops.language import (
    STAGE,
    Accumulate,
    Allocate,
    CopyAsync,
    CopyTile,
    Expression,
    For,
    Kernel,
    LoadFragment,
    Multiply,
    MultiplyShared,
    Pipeline,
    Read,
    Scalar,
    Statement,
    Store,
    loop,
)
from graphc.loops.memory import Buffer, Stride

FUNCTIONS = {"sum": "add", "maximum": "maximum", "minimum": "minimum"}


@dataclass(frozen=True)
class Emulated:
    """kernel: plain loops; its buffers are those of the original, then `scratch`."""

    kernel: Kernel
    scratch: tuple[Buffer, ...]


def emulate(kernel: Kernel) -> Emulated:
    """`kernel` as plain loops."""
    writer = _Writer(launch_of(kernel).threads)
    body = tuple(new for s in kernel.body for new in writer.statement(s))
    scratch = tuple(writer.scratch.values())
    return Emulated(
        replace(
            kernel,
            buffers=(*kernel.buffers, *scratch),
            written=(*kernel.written, *scratch),
            body=body,
        ),
        scratch,
    )


class _Writer:
    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.scratch: dict[str, Buffer] = {}
        self.done: dict[int, tuple[Expression, Expression]] = {}

    def statement(self, s: Statement) -> tuple[Statement, ...]:
        if isinstance(s, For):
            body = tuple(new for each in s.body for new in self.statement(each))
            return (replace(s, mode="serial", body=body, lanes=0),)
        if isinstance(s, Allocate):
            self.scratch[s.buffer.name] = _in_memory(s.buffer)
            return tuple(new for each in s.body for new in self.statement(each))
        if isinstance(s, Store):
            return (Store(self.buffer(s.buffer), s.indices, self.value(s.value)),)
        if isinstance(s, Accumulate):
            # In a loop of one turn: what stands beside it must not be read before.
            return (loop(Variable("once", 1), 1, "serial", self.accumulate(s)),)
        if isinstance(s, CopyAsync):
            return self.copy(s)
        if isinstance(s, CopyTile):
            return (self.copy_tile(s),)
        if isinstance(s, LoadFragment):
            return self.load(s)
        if isinstance(s, MultiplyShared):
            return (self.multiply_shared(s),)
        if isinstance(s, Multiply):
            return self.multiply(s)
        if isinstance(s, Pipeline):
            turn = tuple(new for each in (*s.load, *s.use) for new in self.statement(each))
            return (loop(s.variable, s.extent, "serial", loop(STAGE, 1, "serial", turn)),)
        raise InternalError(f"{type(s).__name__} is not emulated")

    def accumulate(self, s: Accumulate) -> Store:
        buffer = self.buffer(s.buffer)
        old = Read(buffer, s.indices)
        if s.combine == "fma":
            assert isinstance(s.value, Scalar)
            factors = tuple(self.value(a) for a in s.value.arguments)
            return Store(buffer, s.indices, Scalar("fma", (*factors, old), buffer.dtype))
        new = Scalar(FUNCTIONS[s.combine], (old, self.value(s.value)), buffer.dtype)
        return Store(buffer, s.indices, new)

    def copy(self, s: CopyAsync) -> tuple[Statement, ...]:
        """Neighbours lie along the innermost axis on both sides."""
        target, source = self.buffer(s.target), s.source
        copies = []
        for k in range(s.lanes):
            at = (*source.indices[:-1], source.indices[-1] + k)
            to = (*s.indices[:-1], s.indices[-1] + k)
            copies.append(Store(target, to, replace(source, indices=at)))
        return tuple(copies)

    def copy_tile(self, s: CopyTile) -> Statement:
        """Element by element, as the map says."""
        line, at = Variable("line", s.map.lines), Variable("at", s.map.width)
        element = s.map.element(s.source, s.coordinates, index(line), index(at))
        to = (*s.indices, index(line), index(at))
        body: Statement = Store(self.buffer(s.target), to, element)
        return loop(line, s.map.lines, "serial", loop(at, s.map.width, "serial", body))

    def multiply_shared(self, s: MultiplyShared) -> Statement:
        """The product written out, for each group of warps that the target has room for."""
        instruction = WarpgroupInstruction.named(s.instruction)
        m, n, k = (
            Variable("down", instruction.m),
            Variable("across", instruction.n),
            Variable("summed", instruction.k),
        )
        lane, element = TARGET.holder(index(m) % TARGET.rows, index(n) % TARGET.columns)
        warp = index(WARPGROUP) * (WARPGROUP_THREADS // WARP) + index(m) // TARGET.rows
        held = (warp * WARP + lane, *s.target_indices, index(n) // TARGET.columns, element)
        total = Read(self.buffer(s.target), held)
        places = (
            (s.left, s.left_place, {ROW: index(m), COLUMN: index(k)}),
            (s.right, s.right_place, {ROW: index(k), COLUMN: index(n)}),
        )
        factors = tuple(
            Read(self.buffer(buffer), tuple(i.substitute(at) for i in place))
            for buffer, place, at in places
        )
        wide = tuple(
            f if f.dtype is DType.f32 else Scalar("cast", (f,), DType.f32) for f in factors
        )
        body: Statement = Store(
            total.buffer, total.indices, Scalar("fma", (*wide, total), DType.f32)
        )
        for variable, extent in ((k, instruction.k), (n, instruction.n), (m, instruction.m)):
            body = loop(variable, extent, "serial", body)
        threads = s.target.shape[0]
        assert isinstance(threads, int)
        return loop(WARPGROUP, threads // WARPGROUP_THREADS, "serial", body)

    def load(self, s: LoadFragment) -> tuple[Statement, ...]:
        """Every number goes to the thread that is to hold it."""
        instruction = INSTRUCTIONS[s.instruction]
        fragment = instruction.left if s.operand == "left" else instruction.right
        lane, element = fragment.holder(index(ROW), index(COLUMN))
        target = self.buffer(s.target)
        held = (index(WARP_NUMBER) * WARP + lane, *s.target_indices, element)
        body: Statement = Store(target, held, Read(self.buffer(s.source), s.place))
        body = loop(COLUMN, fragment.columns, "serial", body)
        return (self.warps(loop(ROW, fragment.rows, "serial", body)),)

    def multiply(self, s: Multiply) -> tuple[Statement, ...]:
        """The product written out; sums run in the order of k."""
        instruction = INSTRUCTIONS[s.instruction]
        m, n, k = (Variable(name) for name in ("row", "column", "summed"))

        def number(
            buffer: Buffer, at: tuple[Index, ...], fragment: Fragment, r: Variable, c: Variable
        ) -> Read:
            lane, element = fragment.holder(index(r), index(c))
            return Read(self.buffer(buffer), (index(WARP_NUMBER) * WARP + lane, *at, element))

        total = number(s.target, s.target_indices, instruction.target, m, n)
        factors = (
            number(s.left, s.left_indices, instruction.left, m, k),
            number(s.right, s.right_indices, instruction.right, k, n),
        )
        wide = tuple(
            f if f.dtype is DType.f32 else Scalar("cast", (f,), DType.f32) for f in factors
        )
        body: Statement = Store(
            total.buffer, total.indices, Scalar("fma", (*wide, total), DType.f32)
        )
        for variable, extent in ((k, instruction.k), (n, instruction.n), (m, instruction.m)):
            body = loop(variable, extent, "serial", body)
        return (self.warps(body),)

    def warps(self, body: Statement) -> Statement:
        """Every warp of the block, one after the other."""
        return loop(WARP_NUMBER, self.threads // WARP, "serial", body)

    def buffer(self, buffer: Buffer) -> Buffer:
        return self.scratch.get(buffer.name, buffer)

    def value(self, e: Expression) -> Expression:
        """`e` with arrays of the block's own read from memory; shared parts stay shared."""
        known = self.done.get(id(e))
        if known is not None and known[0] is e:
            return known[1]
        new = e
        if isinstance(e, Read):
            new = replace(e, buffer=self.buffer(e.buffer))
        elif isinstance(e, Scalar):
            new = replace(e, arguments=tuple(map(self.value, e.arguments)))
        self.done[id(e)] = e, new
        return new


def _in_memory(buffer: Buffer) -> Buffer:
    """An array of a block's own as a row-major buffer."""
    strides = []
    step = 1
    for extent in reversed(buffer.shape):
        assert isinstance(extent, int)
        strides.append(Stride(step))
        step *= extent
    return replace(buffer, strides=tuple(reversed(strides)), local=False, shared=False)
