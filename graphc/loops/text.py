"""Kernels as C-like text, for people: what a reader of `explain` or a dump sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from graphc.ir.index import Index
from graphc.loops.language import (
    Accumulate,
    Allocate,
    CopyAsync,
    CopyTile,
    Expression,
    For,
    Kernel,
    Lanes,
    Literal,
    LoadFragment,
    Multiply,
    MultiplyShared,
    Pipeline,
    Position,
    Prefetch,
    Read,
    Scalar,
    Statement,
    Store,
    parts,
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
    return "\n".join([*lines, *_statements(kernel.body, "  ")])


def _statements(body: Iterable[Statement], indent: str) -> list[str]:
    return [line for s in body for line in _statement(s, indent)]


def _statement(s: Statement, indent: str) -> list[str]:
    if isinstance(s, For):
        return _for(s, indent)
    if isinstance(s, Allocate):
        shape = ",".join(map(str, s.buffer.shape))
        word = "shared" if s.buffer.shared else "local"
        lines = [f"{indent}{word} {s.buffer.name}: {s.buffer.dtype}[{shape}]"]
        return lines + _statements(s.body, indent)
    if isinstance(s, Store | Accumulate):
        names = _shared(s.value)
        lines = [f"{indent}{name} = {_written(e, names)}" for e, name in names.items()]
        return [*lines, indent + _assigned(s, names)]
    if isinstance(s, Prefetch):
        return [f"{indent}prefetch {_place(s.buffer.name, s.indices)}"]
    if isinstance(s, CopyAsync):
        target = _place(s.target.name, s.indices)
        return [f"{indent}copy {s.lanes}: {target} <- {_written(s.source, {})}"]
    if isinstance(s, Pipeline):
        lines = [f"{indent}pipeline {s.variable} in 0..{s.extent}, {s.stages} stages:"]
        lines += [f"{indent}  load:", *_statements(s.load, indent + "    ")]
        return [*lines, f"{indent}  use:", *_statements(s.use, indent + "    ")]
    if isinstance(s, CopyTile):
        box = " x ".join(map(str, s.map.box))
        source = _place(s.source.name, s.coordinates)
        return [f"{indent}copy {box}: {_place(s.target.name, s.indices)} <- {source}"]
    if isinstance(s, MultiplyShared):
        target = _place(s.target.name, s.target_indices)
        left, right = _place(s.left.name, s.left_place), _place(s.right.name, s.right_place)
        return [f"{indent}{target} += {left} @ {right}    # {s.instruction}"]
    if isinstance(s, LoadFragment):
        source = _place(s.source.name, s.place)
        return [f"{indent}load {_place(s.target.name, s.target_indices)} <- {source}"]
    if isinstance(s, Multiply):
        target = _place(s.target.name, s.target_indices)
        left, right = _place(s.left.name, s.left_indices), _place(s.right.name, s.right_indices)
        return [f"{indent}{target} += {left} @ {right}    # {s.instruction}"]
    target = _place(s.target.name, s.target_place)
    source = _place(s.source.name, s.source_place)
    return [f"{indent}transpose {s.rows} x {s.columns}: {target} <- {source}"]


def _assigned(s: Store | Accumulate, names: Names) -> str:
    target, value = _place(s.buffer.name, s.indices), _expression(s.value, names)
    if isinstance(s, Store):
        return f"{target} = {value}"
    if s.combine in ("sum", "fma", "dot"):
        return f"{target} += {value}"
    return f"{target} = {s.combine}({target}, {value})"


def _for(s: For, indent: str) -> list[str]:
    lows = [str(i) for i in s.low if i != Index()] or ["0"]
    low = lows[0] if len(lows) == 1 else f"max({', '.join(lows)})"
    highs = [str(i) for i in s.high]
    high = highs[0] if len(highs) == 1 else f"min({', '.join(highs)})"
    if s.mode == "unroll" and high == "1":
        return _statements(s.body, indent)
    word = "for" if s.mode == "serial" else s.mode
    head = f"{indent}{word} {s.variable} in {low}..{high}:"
    lines = _statements(s.body, indent + "  ")
    if len(lines) == 1 and not isinstance(s.body[0], For):
        return [f"{head} {lines[0].strip()}"]
    return [head, *lines]


def _place(name: str, indices: tuple[Index, ...]) -> str:
    return f"{name}[{', '.join(map(str, indices))}]" if indices else name


Names = Mapping[Scalar, str]  # of the parts that have a line of their own


def _shared(value: Expression) -> dict[Scalar, str]:
    """What is computed once and used several times, in order, and what it is called: written out
    at each use, the text of a random number would be longer than any screen.
    """
    uses = Counter(a for e in parts(value) if isinstance(e, Scalar) for a in e.arguments)
    found: dict[Scalar, str] = {}
    done: set[Expression] = set()
    stack = [value]
    while stack:
        e = stack[-1]
        waiting = [a for a in e.arguments if a not in done] if isinstance(e, Scalar) else []
        if waiting:
            stack += waiting
            continue
        stack.pop()
        if isinstance(e, Scalar) and uses[e] > 1 and e not in done:
            found[e] = f"v{len(found)}"
        done.add(e)
    return found


def _expression(e: Expression, names: Names) -> str:
    """An expression as one line; parts that have a name by it."""
    if isinstance(e, Scalar) and e in names:
        return names[e]
    return _written(e, names)


def _written(e: Expression, names: Names) -> str:
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
    arguments = [_expression(a, names) for a in e.arguments]
    if e.function in _SIGNS:
        return f"({arguments[0]} {_SIGNS[e.function]} {arguments[1]})"
    if e.function == "cast":
        return f"{e.dtype}({arguments[0]})"
    return f"{e.function}({', '.join(arguments)})"
