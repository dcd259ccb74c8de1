"""The loops of a definition brought into the form that schedules like: no quotients where an axis
can be cut in two, no two loops where one does, sums in the order in which they read memory.

    channels in blocks:   c // 16, c % 16   ->  c = 16 cb + ci: an axis cb and an axis ci
    pixels one by one:    28 y + x          ->  one axis of 784
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from graphc.ir.index import Index, Variable, index
from graphc.ir.layouts import BLOCK
from graphc.ir.types import Batch
from graphc.loops.definition import Axis, Definition, Output
from graphc.loops.language import Expression, Position, Read, Scalar, parts, reads, substitute
from graphc.loops.pairs import paired


def normalized(definition: Definition) -> Definition:
    """`definition` with loops that schedules like."""
    return _merged(_in_order(paired(cut(definition))))


def expressions(definition: Definition) -> list[Expression]:
    values = [o.value for o in definition.outputs]
    return values if definition.term is None else [definition.term, *values]


def offsets(definition: Definition) -> Iterable[Index]:
    """The places in memory that a definition touches, both parts of each."""
    for output in definition.outputs:
        yield from output.buffer.offset(output.indices)
    for read in reads(*expressions(definition)):
        if read.buffer.shape:
            yield from read.buffer.offset(read.indices)


def replaced(definition: Definition, place: Mapping[Variable, Index]) -> Definition:
    """`definition` with variables replaced in everything but its lists of axes."""
    outputs = tuple(
        Output(o.buffer, tuple(i.substitute(place) for i in o.indices), substitute(o.value, place))
        for o in definition.outputs
    )
    term = None if definition.term is None else substitute(definition.term, place)
    return replace(definition, outputs=outputs, term=term)


# -- cutting axes ----------------------------------------------------------------------------------


def cut(definition: Definition) -> Definition:
    """Axes that lie in blocks, or that a contraction visits by the stride, become two."""
    divisors = _divisors(definition)
    axes: list[Axis] = []
    reduced: list[Axis] = []
    place: dict[Variable, Index] = {}
    for old, new in ((definition.axes, axes), (definition.reduced, reduced)):
        inner = []
        for axis in old:
            divisor = divisors.get(axis.variable)
            if divisor is None or isinstance(axis.extent, Batch) or axis.extent % divisor:
                new.append(axis)
                continue
            name, count = axis.variable.name, axis.extent // divisor
            block = Axis(Variable(f"{name}b", count), count)
            within = Axis(Variable(f"{name}i", divisor), divisor)
            place[axis.variable] = index(block.variable) * divisor + index(within.variable)
            new += [block] if count > 1 else []
            inner.append(within)
        new += inner
    if not place:
        return definition
    return replaced(replace(definition, axes=tuple(axes), reduced=tuple(reduced)), place)


def _divisors(definition: Definition) -> dict[Variable, int]:
    """By what to cut variables that stand alone in a quotient or a remainder: by a block, and in
    a contraction by any number (its stride).
    """
    found: dict[Variable, int] = {}
    for offset in offsets(definition):
        for atom, _ in offset.terms:
            if isinstance(atom, Variable):
                continue
            for variable, factor in atom.value.terms:
                fitting = definition.is_contraction or atom.divisor == BLOCK
                if isinstance(variable, Variable) and factor == 1 and fitting:
                    found.setdefault(variable, atom.divisor)
    return found


# -- the order of sums -----------------------------------------------------------------------------


def _in_order(definition: Definition) -> Definition:
    """Samples that do not lie side by side are summed outermost: they are far apart."""
    if any(b.batch_last for b in definition.inputs):
        return definition
    reduced = sorted(definition.reduced, key=lambda a: not a.is_batch)
    return replace(definition, reduced=tuple(reduced))


# -- merging axes ----------------------------------------------------------------------------------


def _merged(definition: Definition) -> Definition:
    """Neighbouring axes that every access runs through like one become one."""
    if any(b.batch_last for b in definition.buffers):
        return definition  # lanes are samples: other axes are short loops, and rows stay threads'
    fixed = _fixed_variables(definition)
    places = list(offsets(definition))
    place: dict[Variable, Index] = {}
    axes = {}
    for name in ("axes", "reduced"):
        merged: list[Axis] = []
        for axis in getattr(definition, name):
            before = merged[-1] if merged else None
            if before is None or fixed & {before.variable, axis.variable}:
                merged.append(axis)
                continue
            if not _run_on(places, before, axis):
                merged.append(axis)
                continue
            extent = before.extent * axis.extent
            both = Variable(before.variable.name, extent)
            step = {before.variable: Index(), axis.variable: index(both)}
            place = {v: i.substitute(step) for v, i in place.items()} | step
            places = [o.substitute(step) for o in places]
            merged[-1] = Axis(both, extent)
        axes[name] = tuple(merged)
    if not place:
        return definition
    merged_axes = replace(definition, axes=axes["axes"], reduced=axes["reduced"])
    return replaced(merged_axes, place)


def _fixed_variables(definition: Definition) -> frozenset[Variable]:
    """Variables that are looked at as such: in conditions, positions and quotients."""
    found: set[Variable] = set()
    for e in parts(*expressions(definition)):
        if isinstance(e, Position):
            found |= e.index.variables
        elif isinstance(e, Read | Scalar):
            for bound in e.bounds:
                found |= bound.value.variables
    for offset in offsets(definition):
        for atom, _ in offset.terms:
            if not isinstance(atom, Variable):
                found |= atom.value.variables
    return frozenset(found)


def _run_on(offsets: Iterable[Index], outer: Axis, inner: Axis) -> bool:
    """Whether a step of `outer` is always as long as all of `inner`."""
    if outer.is_batch or inner.is_batch:
        return False
    return all(
        o.coefficient(outer.variable) == o.coefficient(inner.variable) * inner.extent  # type: ignore[operator]
        for o in offsets
    )
