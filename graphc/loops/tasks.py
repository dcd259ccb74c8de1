"""Loops around a body, the leading ones joined into one parallel loop: its steps are the tasks that
threads share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from graphc.base.errors import InternalError
from graphc.ir.index import Index, Variable, index
from graphc.loops.language import (
    Accumulate,
    Allocate,
    Expression,
    For,
    Prefetch,
    Statement,
    Store,
    Transpose,
    loop,
    substitute,
)

PARALLEL_TASKS = 192
SERIAL_WORK = 4096


def spread(
    loops: Sequence[tuple[Variable, Index]], body: tuple[Statement, ...], work: int
) -> Statement:
    """Loops around `body`, outermost first; the leading ones join into one parallel loop of enough
    tasks, unless there is little `work` in all.
    """
    inner = list(loops)
    slowest: tuple[Variable, Index] | None = None
    if inner and not inner[0][1].is_constant:
        slowest = inner.pop(0)
    joined: list[tuple[Variable, int]] = []
    while inner and inner[0][1].is_constant and _product(joined) < PARALLEL_TASKS:
        variable, count = inner.pop(0)
        joined.append((variable, count.constant))
    tasks = _product(joined)
    for variable, count in reversed(inner):
        body = (loop(variable, count, "serial", body),)
    if not joined and slowest is None:
        return body[0] if len(body) == 1 else loop(Variable("once", 1), 1, "unroll", body)
    task = Variable("t", tasks if slowest is None else None)
    at: dict[Variable, Index] = {}
    stride = 1
    for variable, extent in reversed(joined):
        last = variable is joined[0][0] and slowest is None
        at[variable] = index(task) // stride if last else (index(task) // stride) % extent
        stride *= extent
    total = index(tasks)
    if slowest is not None:
        at[slowest[0]] = index(task) // stride
        total = slowest[1] * stride
    body = _rename(body, at)
    serial = slowest is None and work < SERIAL_WORK
    return loop(task, total, "serial" if serial else "parallel", body)


def _product(loops: list[tuple[Variable, int]]) -> int:
    return math.prod(extent for _, extent in loops)


def _rename(body: tuple[Statement, ...], at: dict[Variable, Index]) -> tuple[Statement, ...]:
    """`body` with variables replaced everywhere."""
    done: dict[int, Expression] = {}

    def expression(e: Expression) -> Expression:
        if id(e) not in done:
            done[id(e)] = substitute(e, at)
        return done[id(e)]

    def indices(many: tuple[Index, ...]) -> tuple[Index, ...]:
        return tuple(i.substitute(at) for i in many)

    def visit(s: Statement) -> Statement:
        if isinstance(s, Store | Accumulate):
            return replace(s, indices=indices(s.indices), value=expression(s.value))
        if isinstance(s, Prefetch):
            return replace(s, indices=indices(s.indices))
        if isinstance(s, Allocate):
            return replace(s, body=tuple(map(visit, s.body)))
        if isinstance(s, For):
            return replace(
                s, low=indices(s.low), high=indices(s.high), body=tuple(map(visit, s.body))
            )
        if isinstance(s, Transpose):
            return replace(
                s,
                target_place=indices(s.target_place),
                source_place=indices(s.source_place),
                limit=None if s.limit is None else s.limit.substitute(at),
            )
        raise InternalError(f"{type(s).__name__} is no statement for processors")

    return tuple(map(visit, body))
