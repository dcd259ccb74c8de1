"""What a kernel costs whatever its schedule: floating point operations and bytes that must
move, by batch size.
"""

from __future__ import annotations

import itertools
import math

from graphc.ir.index import Variable
from graphc.ir.layouts import PAIR
from graphc.ir.types import Batch, Dim
from graphc.loops.definition import Axis, Definition
from graphc.loops.language import Amount, Expression, Scalar, reads
from graphc.loops.memory import Buffer
from graphc.loops.rows import RowDefinition
from graphc.ops.op import Bound

LARGEST_COUNT = 1 << 16
FREE = frozenset({"select", "cast", "pair", "within", "logical_and", "logical_or", "logical_not"})


def flops_of(definition: Definition | RowDefinition) -> Amount:
    """Arithmetic of the reduction and of what follows it; a product that is summed counts two."""
    if isinstance(definition, RowDefinition):
        return _flops_of_rows(definition)
    outer = definition.axes
    total = Amount()
    total += _times(_operations([o.value for o in definition.outputs]), outer)
    if definition.term is not None:
        each = _operations([definition.term]) + 1
        each *= PAIR if definition.combine == "dot" else 1
        whole = _times(each, (*outer, *definition.reduced))
        share = _share_inside(definition) if definition.is_contraction else 1.0
        total += Amount(round(whole.fixed * share), round(whole.sample * share))
    return total


def _flops_of_rows(definition: RowDefinition) -> Amount:
    """Arithmetic of every stage: of numbers once a row, of all else once an element."""
    total = Amount()
    elements = (*definition.axes, *definition.reduced)
    for stage in definition.stages:
        along = [o.value for o in (*stage.kept, *stage.results)] + [s.term for s in stage.sums]
        total += _times(_operations([o.value for o in stage.numbers]), definition.axes)
        total += _times(_operations(along) + len(stage.sums), elements)
    return total


def _share_inside(definition: Definition) -> float:
    """The share of a contraction's products whose indices are inside: the others never run."""
    assert definition.term is not None
    share = 1.0
    for bounds in _by_variables({b for r in reads(definition.term) for b in r.bounds}):
        variables = sorted({v for b in bounds for v in b.value.variables}, key=str)
        extents = [v.extent for v in variables]
        if None in extents or math.prod(e for e in extents if e) > LARGEST_COUNT:
            continue
        inside = total = 0
        for numbers in itertools.product(*(range(e or 0) for e in extents)):
            place = dict(zip(variables, numbers, strict=True))
            values = [(b, b.value.evaluate(place.__getitem__)) for b in bounds]
            inside += all(b.low <= v and (b.high is None or v < b.high) for b, v in values)
            total += 1
        share *= inside / max(total, 1)
    return share


def _by_variables(bounds: set[Bound]) -> list[list[Bound]]:
    """Bounds in groups that share no variable."""
    groups: list[tuple[set[Variable], list[Bound]]] = []
    for bound in sorted(bounds, key=str):
        variables, members = set(bound.value.variables), [bound]
        apart = [g for g in groups if not g[0] & variables]
        for others, more in (g for g in groups if g[0] & variables):
            variables |= others
            members += more
        groups = [*apart, (variables, members)]
    return [members for _, members in groups]


def bytes_of(buffers: tuple[Buffer, ...]) -> Amount:
    """Every buffer once."""
    total = Amount()
    for buffer in buffers:
        total += _volume(buffer.shape, buffer.dtype.itemsize)
    return total


def _times(each: int, axes: tuple[Axis, ...]) -> Amount:
    return _volume(tuple(a.extent for a in axes), each)


def _volume(extents: tuple[Dim, ...], each: int) -> Amount:
    count = each * math.prod(d for d in extents if isinstance(d, int))
    return Amount(0, count) if any(isinstance(d, Batch) for d in extents) else Amount(count, 0)


def _operations(expressions: list[Expression]) -> int:
    """Arithmetic of the expressions, what they share counted once."""
    found, seen, stack = 0, set(), list(expressions)
    while stack:
        e = stack.pop()
        if isinstance(e, Scalar) and id(e) not in seen:
            seen.add(id(e))
            found += 2 if e.function == "fma" else e.function not in FREE
            stack.extend(e.arguments)
    return found
