"""The loops of a definition brought into the form that schedules like: no quotients where an axis
can be cut in two, no two loops where one does, sums in the order in which they read memory.

    channels in blocks:   c // 16, c % 16   ->  c = 16 cb + ci: an axis cb and an axis ci
    their features:       f // 576, f % 36, f // 36 % 16  ->  f = 576 fb + 36 fi + fp
    pixels one by one:    28 y + x          ->  one axis of 784
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from graphc.ir.index import Index, Variable, index
from graphc.ir.layouts import BLOCK
from graphc.ir.types import Batch
from graphc.loops.definition import Axis, Definition
from graphc.loops.language import Position, Read, Scalar, parts, reads
from graphc.loops.memory import Buffer
from graphc.loops.pairs import paired
from graphc.loops.rows import RowDefinition

Loops = TypeVar("Loops", Definition, RowDefinition)


def normalized(definition: Definition) -> Definition:
    """`definition` with loops that schedules like."""
    return merged(_in_order(paired(cut(_laid_out(definition)))))


def _accesses(
    definition: Definition | RowDefinition,
) -> Iterable[tuple[Buffer, tuple[Index, ...]]]:
    """The buffers that a definition touches, and where."""
    for output in definition.outputs:
        yield output.buffer, output.indices
    for read in reads(*definition.expressions):
        if read.buffer.shape:
            yield read.buffer, read.indices


def offsets(definition: Definition | RowDefinition) -> Iterable[Index]:
    """The places in memory that a definition touches, both parts of each."""
    for buffer, indices in _accesses(definition):
        yield from buffer.offset(indices)


# -- cutting axes ----------------------------------------------------------------------------------


def _laid_out(definition: Definition) -> Definition:
    """Axes of features of images in blocks become three, in the order in which they lie: blocks,
    pixels, channels of a block.
    """
    pixels: dict[Variable, int] = {}
    for buffer, indices in _accesses(definition):
        if buffer.pixels is not None:
            count = buffer.shape[buffer.pixels]
            assert isinstance(count, int)
            for variable in indices[buffer.pixels].variables:
                if indices[buffer.pixels] == index(variable) % count:
                    pixels.setdefault(variable, count)
    axes: dict[str, tuple[Axis, ...]] = {}
    place: dict[Variable, Index] = {}
    for name in ("axes", "reduced"):
        new: list[Axis] = []
        for axis in getattr(definition, name):
            count = pixels.get(axis.variable, 0)
            if not count or axis.extent % (count * BLOCK):
                new.append(axis)
                continue
            extents = {"b": axis.extent // (count * BLOCK), "p": count, "c": BLOCK}
            b, p, c = (Axis(Variable(f"{axis.variable.name}{k}", n), n) for k, n in extents.items())
            blocks = index(b.variable) * BLOCK if b.extent != 1 else Index()
            place[axis.variable] = (blocks + index(c.variable)) * count + index(p.variable)
            new += [b, p, c] if b.extent != 1 else [p, c]
        axes[name] = tuple(new)
    if not place:
        return definition
    return replace(definition, axes=axes["axes"], reduced=axes["reduced"]).replaced(place)


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
    return replace(definition, axes=tuple(axes), reduced=tuple(reduced)).replaced(place)


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


def merged(definition: Loops) -> Loops:
    """Neighbouring axes that every access runs through like one become one."""
    if any(b.batch_last for b in definition.buffers):
        return definition  # lanes are samples: other axes are short loops, and rows stay threads'
    fixed = _fixed_variables(definition)
    places = list(offsets(definition))
    place: dict[Variable, Index] = {}
    axes = {}
    for name in ("axes", "reduced"):
        joined: list[Axis] = []
        for axis in getattr(definition, name):
            before = joined[-1] if joined else None
            if before is None or fixed & {before.variable, axis.variable}:
                joined.append(axis)
                continue
            if not _run_on(places, before, axis):
                joined.append(axis)
                continue
            extent = before.extent * axis.extent
            both = Variable(before.variable.name, extent)
            step = {before.variable: Index(), axis.variable: index(both)}
            place = {v: i.substitute(step) for v, i in place.items()} | step
            places = [o.substitute(step) for o in places]
            joined[-1] = Axis(both, extent)
        axes[name] = tuple(joined)
    if not place:
        return definition
    return replace(definition, axes=axes["axes"], reduced=axes["reduced"]).replaced(place)


def _fixed_variables(definition: Definition | RowDefinition) -> frozenset[Variable]:
    """Variables that are looked at as such: in conditions, positions and quotients."""
    found: set[Variable] = set()
    for e in parts(*definition.expressions):
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


def _run_on(places: Iterable[Index], outer: Axis, inner: Axis) -> bool:
    """Whether a step of `outer` is always as long as all of `inner`."""
    if outer.is_batch or inner.is_batch:
        return False
    return all(
        o.coefficient(outer.variable) == o.coefficient(inner.variable) * inner.extent  # type: ignore[operator]
        for o in places
    )
