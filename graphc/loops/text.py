"""Kernels as C-like text, for people: what a reader of `explain` or a dump sees."""

from __future__ import annotations

from graphc.ir.index import Index
from graphc.loops.language import (
    Accumulate,
    Allocate,
    Expression,
    For,
    Kernel,
    Lanes,
    Literal,
    Position,
    Read,
    Statement,
    Store,
)

_SIGNS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "less": "<",
    "less_equal": "<=",
    "equal": "==",
    "not_equal": "!=",
    "logical_and": "and",
    "logical_or": "or",
    "bit_xor": "^",
    "shift_left": "<<",
    "shift_right": ">>",
}


def kernel_text(kernel: Kernel) -> str:
    """The whole kernel: its buffers, then its loops."""
    lines = [f"kernel {kernel.name}: {', '.join(kernel.ops)}    # {kernel.schedule}"]
    for buffer in kernel.buffers:
        shape = ",".join(map(str, buffer.shape))
        way = "out" if buffer in kernel.written else "in "
        lines.append(f"  {way} {buffer.name}: {buffer.dtype}[{shape}]")
    for statement in kernel.body:
        lines.extend(_statement(statement, "  "))
    return "\n".join(lines)


def _statement(s: Statement, indent: str) -> list[str]:
    if isinstance(s, For):
        return _for(s, indent)
    if isinstance(s, Allocate):
        shape = ",".join(map(str, s.buffer.shape))
        lines = [f"{indent}local {s.buffer.name}: {s.buffer.dtype}[{shape}]"]
        return lines + [line for inner in s.body for line in _statement(inner, indent)]
    if isinstance(s, Store):
        return [f"{indent}{_place(s.buffer.name, s.indices)} = {expression_text(s.value)}"]
    if isinstance(s, Accumulate):
        target = _place(s.buffer.name, s.indices)
        value = expression_text(s.value)
        if s.combine in ("sum", "fma"):
            return [f"{indent}{target} += {value}"]
        return [f"{indent}{target} = {s.combine}({target}, {value})"]
    target = _place(s.target.name, s.target_place)
    source = _place(s.source.name, s.source_place)
    return [f"{indent}transpose {s.rows} x {s.columns}: {target} <- {source}"]


def _for(s: For, indent: str) -> list[str]:
    lows = [str(i) for i in s.low if i != Index()] or ["0"]
    low = lows[0] if len(lows) == 1 else f"max({', '.join(lows)})"
    highs = [str(i) for i in s.high]
    high = highs[0] if len(highs) == 1 else f"min({', '.join(highs)})"
    word = {"serial": "for", "parallel": "parallel", "unroll": "unroll", "vector": "vector"}[s.mode]
    head = f"{indent}{word} {s.variable} in {low}..{high}:"
    single = len(s.body) == 1 and not isinstance(s.body[0], For | Allocate)
    if single:
        return [f"{head} {_statement(s.body[0], '')[0]}"]
    return [head] + [line for inner in s.body for line in _statement(inner, indent + "  ")]


def _place(name: str, indices: tuple[Index, ...]) -> str:
    return f"{name}[{', '.join(map(str, indices))}]"


def expression_text(e: Expression) -> str:
    """An expression as one line."""
    if isinstance(e, Literal):
        return str(e.value)
    if isinstance(e, Read):
        text = _place(e.buffer.name, e.indices)
        return f"({text} if {' and '.join(map(str, e.bounds))} else 0)" if e.bounds else text
    if isinstance(e, Position):
        return f"{e.dtype}({e.index})"
    if isinstance(e, Lanes):
        return f"{e.combine}_of_lanes({_place(e.buffer.name, e.indices)})"
    if e.function == "within":
        return f"({' and '.join(map(str, e.bounds))})"
    arguments = [expression_text(a) for a in e.arguments]
    if e.function in _SIGNS:
        return f"({arguments[0]} {_SIGNS[e.function]} {arguments[1]})"
    if e.function == "cast":
        return f"{e.dtype}({arguments[0]})"
    return f"{e.function}({', '.join(arguments)})"
