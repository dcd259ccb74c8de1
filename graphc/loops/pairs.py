"""Numbers of bf16 that lie side by side taken two at a time: a pair is read and written as one i32.

A processor adds both products of two pairs to one f32. So a sum over an axis along which both
factors lie side by side becomes one over pairs, and a copy that puts two rows side by side (weights
in blocks) writes pairs of a number from each:

    sum over c of f32(a[.., c]) * f32(b[.., c])   ->  sum over pairs c of dot(a[.., c], b[.., c])
    out[c // 2, k, c % 2] = bf16(a[c, k])         ->  out[c, k] = pair(a[2 c, k], a[2 c + 1, k])

What does not lie so stays as it is: numbers are widened one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.ir.index import Index, Variable, index
from graphc.ir.layouts import PAIR
from graphc.ir.types import DType
from graphc.loops.definition import Axis, Definition, Output
from graphc.loops.language import Expression, Read, Scalar, substitute
from graphc.loops.memory import Buffer, Stride

WHICH = Variable("pair", PAIR)


def paired(definition: Definition) -> Definition:
    """`definition` over pairs of bf16 where they lie side by side; else the same object."""
    return _products(definition) if definition.is_contraction else _copies(definition)


def _products(definition: Definition) -> Definition:
    """A sum of products of bf16 as one of dots."""
    factors = [_widened(f) for f in _factors(definition.term)]
    for axis in definition.reduced:
        halves, both = _halved(axis)
        reads = [None if f is None else _read_of_pairs(f, both) for f in factors]
        if halves is None or not reads or not all(reads):
            continue
        buffers = {r.buffer.name: r.buffer for r in reads if r is not None}
        return replace(
            definition,
            inputs=tuple(buffers.get(b.name, b) for b in definition.inputs),
            reduced=tuple(halves if a == axis else a for a in definition.reduced),
            combine="dot",
            term=Scalar("dot", tuple(r for r in reads if r is not None), DType.f32),
        )
    return definition


def _factors(term: Expression | None) -> Sequence[Expression]:
    return term.arguments if isinstance(term, Scalar) and term.function == "mul" else ()


def _widened(factor: Expression) -> Read | None:
    """What a factor reads, if it is a plain number of bf16."""
    if not isinstance(factor, Scalar) or factor.function != "cast":
        return None
    (read,) = factor.arguments
    return read if isinstance(read, Read) and read.dtype is DType.bf16 else None


def _copies(definition: Definition) -> Definition:
    """Elementwise code that puts two rows of bf16 side by side writes pairs."""
    wanted = [o for o in definition.outputs if o.buffer.dtype is DType.bf16]
    if definition.combine is not None or len(wanted) != 1:
        return definition
    for axis in definition.axes:
        if all(i.is_linear_in(axis.variable) for i in wanted[0].indices):
            continue
        halves, both = _halved(axis)
        place = _place_of_pairs(wanted[0].buffer, wanted[0].indices, both)
        if halves is None or place is None:
            continue
        outputs: list[Output] = []
        for output in definition.outputs:
            each = [_at(output, both, which) for which in range(PAIR)]
            if output is wanted[0]:
                values = tuple(o.value for o in each)
                outputs.append(Output(*place, Scalar("pair", values, DType.i32)))
            else:
                outputs += each
        axes = tuple(halves if a == axis else a for a in definition.axes)
        return replace(definition, axes=axes, outputs=tuple(outputs))
    return definition


def _at(output: Output, both: Mapping[Variable, Index], which: int) -> Output:
    """The output at the first or the second of two neighbours."""
    place = {v: i.at({WHICH: which}) for v, i in both.items()}
    indices = tuple(i.substitute(place) for i in output.indices)
    return Output(output.buffer, indices, substitute(output.value, place))


def _halved(axis: Axis) -> tuple[Axis | None, dict[Variable, Index]]:
    """The axis of half the extent, and what stands for a number along the whole one."""
    if not isinstance(axis.extent, int) or axis.extent % PAIR:
        return None, {}
    variable = Variable(axis.variable.name, axis.extent // PAIR)
    return Axis(variable, axis.extent // PAIR), {
        axis.variable: index(variable) * PAIR + index(WHICH)
    }


def _read_of_pairs(read: Read, both: Mapping[Variable, Index]) -> Read | None:
    """The read of a whole pair; None if the two of a pair do not lie side by side."""
    if any(bound.value.variables & both.keys() for bound in read.bounds):
        return None
    place = _place_of_pairs(read.buffer, read.indices, both)
    return None if place is None else Read(*place, read.bounds)


def _place_of_pairs(
    buffer: Buffer, indices: Sequence[Index], both: Mapping[Variable, Index]
) -> tuple[Buffer, tuple[Index, ...]] | None:
    """A buffer of bf16 as one of pairs, and where in it the pair at `indices` is; None if the two
    do not lie side by side.
    """
    shape, strides, places, found = [], [], [], False
    for extent, stride, i in zip(buffer.shape, buffer.strides, indices, strict=True):
        at = i.substitute(both)
        if stride == Stride(1):
            rest = at.without(WHICH)
            if at.coefficient(WHICH) != 1 or not at.is_linear_in(WHICH) or not _is_even(rest):
                return None
            found = True
            extent, stride, at = int(extent) // PAIR, Stride(PAIR), rest // PAIR  # type: ignore[arg-type]
        if WHICH in at.variables or stride.fixed % PAIR or stride.padded % PAIR:
            return None
        shape.append(extent)
        strides.append(Stride(stride.fixed // PAIR, stride.padded // PAIR))
        places.append(at)
    if not found:
        return None
    pairs = replace(buffer, dtype=DType.i32, shape=tuple(shape), strides=tuple(strides))
    return pairs, tuple(places)


def _is_even(i: Index) -> bool:
    return i.constant % PAIR == 0 and all(factor % PAIR == 0 for _, factor in i.terms)
