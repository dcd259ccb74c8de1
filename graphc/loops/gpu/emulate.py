"""Kernels for a graphics processor as plain loops, which any backend for processors can run.

Thread loops mean the same when their steps run one after the other, so they become serial loops,
and so do blocks. Arrays of a block's own become buffers of the kernel (`scratch`), copies are made
at once, and what tensor cores do is written out number by number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.base.errors import InternalError
from graphc.loops.language import (
    Accumulate,
    Allocate,
    Await,
    Buffer,
    Expression,
    For,
    Kernel,
    Read,
    Scalar,
    Statement,
    Store,
    Stride,
)

FUNCTIONS = {"sum": "add", "maximum": "maximum", "minimum": "minimum"}


@dataclass(frozen=True)
class Emulated:
    """kernel: plain loops; its buffers are those of the original, then `scratch`."""

    kernel: Kernel
    scratch: tuple[Buffer, ...]


def emulate(kernel: Kernel) -> Emulated:
    """`kernel` as plain loops."""
    writer = _Writer()
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
    def __init__(self) -> None:
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
            return (self.accumulate(s),)
        if isinstance(s, Await):
            return ()
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
