"""What a graph must compute, and how far an answer may be from it.

The numpy interpreter is the oracle. It runs in f64 for the value, in f32 for the rounding that is
to be expected, and twice more in f64 with opposite noise after every op that rounds: where a
comparison is decided by rounding, or a number is the difference of two large ones, these disagree,
and an answer between them is right. It knows no backend and no pass: it judges arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import INPUT, Graph
from graphc.ir.node import Node
from graphc.ir.types import DType
from graphc.ops.interpret import evaluate, interpret
from graphc.ops.op import Op, op_of
from graphc.ops.scalar import COMPARISONS, LOGICAL, CountOperations, Value
from graphc.passes.retype import retype

Array = np.ndarray[Any, Any]
INPUT_NOISE = 1e-6
OP_NOISE = 2e-7
ROUNDINGS = 4.0  # times what f32 is off
NOISE = 3.0  # times what noise changes: it is one draw for each of many elements
OF_SCALE = 1e-5
USUAL = 0.9
EXACT = COMPARISONS | LOGICAL | {"neg", "abs", "floor", "maximum", "minimum"}


@dataclass(frozen=True)
class Expected:
    """One output: its value in f64, how far off an answer may be, and where anything is right."""

    value: Array
    tolerance: Array
    free: Array


class Expectation:
    """What `graph` must compute from `inputs`; judges any number of answers.

    inputs: arrays by name, as for the graph itself. n: the batch size. seed: of the noise.
    """

    def __init__(self, graph: Graph, inputs: Mapping[str, Any], n: int, *, seed: int = 0) -> None:
        self.graph = graph
        self.inputs = inputs
        self.single: list[Array] = [np.asarray(a) for a in interpret(graph, inputs, n)]
        exact = retype(graph, DType.f64)
        wide = {
            i.attrs["name"]: np.asarray(inputs[i.attrs["name"]], i.tensor.dtype.numpy)
            for i in exact.inputs
        }
        values = [np.asarray(a) for a in interpret(exact, wide, n)]
        noisy = [_noisy(exact, wide, n, seed, sign) for sign in (1.0, -1.0)]
        self.outputs = [
            _expected(values[k], [self.single[k], noisy[0][k], noisy[1][k]])
            for k in range(len(values))
        ]

    def problem(self, got: Sequence[Any]) -> str | None:
        """What is wrong with the outputs `got`; None if nothing is."""
        if len(got) != len(self.outputs):
            return f"{len(got)} outputs instead of {len(self.outputs)}"
        for position, (given, expected) in enumerate(zip(got, self.outputs, strict=True)):
            found = _problem(np.asarray(given), expected, self.single[position].dtype)
            if found is not None:
                node = self.graph.outputs[position]
                return f"output {position} (%{self.graph.names[node]} : {node.type}): {found}"
        return None

    def check(self, got: Sequence[Any], what: str) -> None:
        """Raises GraphcError naming `what` computed the outputs `got` if one of them is wrong."""
        found = self.problem(got)
        if found is not None:
            raise GraphcError(
                f"{what}: {found}",
                node=str(self.graph),
                remedy="the oracle is the numpy interpreter; print the graph after every pass",
            )


def compare(
    graph: Graph,
    inputs: Mapping[str, Any],
    n: int,
    got: Sequence[Any],
    *,
    what: str = "the result",
    seed: int = 0,
) -> None:
    """Raises GraphcError unless `got`, the outputs that `what` computed, are what the oracle says.

    The tolerance of an element is a few times the difference between the oracle in f32 and in f64,
    1e-5 of the output's largest element, and what noise of a few roundings changes.
    """
    Expectation(graph, inputs, n, seed=seed).check(got, what)


def _noisy(
    graph: Graph, inputs: Mapping[str, Array], n: int, seed: int, sign: float
) -> list[Array]:
    """The outputs when every float is off by relative noise: that of ``-sign`` is the opposite."""
    rng = np.random.default_rng(seed)
    values: dict[Node, Any] = {}

    def disturb(value: Any, size: float) -> Any:
        if isinstance(value, tuple):
            return tuple(disturb(v, size) for v in value)
        if value.dtype.kind != "f":
            return value
        return value * (1 + sign * size * rng.uniform(-1, 1, value.shape))

    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.op is INPUT:
                values[node] = disturb(inputs[node.attrs["name"]], INPUT_NOISE)
                continue
            result = evaluate(node, [values[i] for i in node.inputs], n)
            values[node] = disturb(result, OP_NOISE) if rounds(op_of(node)) else result
    return [np.asarray(values[o]) for o in graph.outputs]


class _Roundings(CountOperations):
    """Counts the functions of a body that round, which choosing and changing a sign do not."""

    def unary(self, name: str, x: Value) -> Value:
        self.count += name not in EXACT

    def binary(self, name: str, x: Value, y: Value) -> Value:
        self.count += name not in EXACT


@cache
def rounds(op: Op) -> bool:
    """Whether the op's results are rounded; if not, they are elements of its inputs, sign aside."""
    if op.family == "elementwise":
        assert op.body is not None and op.arity is not None
        attrs = next((s.attrs for s in op.samples if s.raises is None), {})
        counter = _Roundings()
        op.body(counter, *([None] * op.arity), **attrs)
        return counter.count > 0
    return op.family in ("contraction", "layer") or op.combine == "sum"


def _expected(value: Array, others: Sequence[Array]) -> Expected:
    kinds = [_kind_of(a) for a in (value, *others)]
    free = np.zeros(value.shape, bool)
    for kind in kinds[1:]:
        free |= kind != kinds[0]
    if value.dtype.kind != "f":
        for other in others:
            free |= other != value
        return Expected(value, np.zeros(value.shape), free)
    finite = np.where(np.isfinite(value), value, 0.0)
    scale = float(np.max(np.abs(finite), initial=0.0))
    tolerance = np.full(value.shape, OF_SCALE * scale)
    with np.errstate(all="ignore"):
        for other, factor in zip(others, (ROUNDINGS, NOISE, NOISE), strict=True):
            away = np.abs(np.asarray(other, np.float64) - value)
            away = np.where(np.isfinite(away), away, 0.0)
            # where an output is all cancellation, an element's own rounding may be 0 by luck
            usual = np.quantile(away, USUAL) if away.size else 0.0
            tolerance = tolerance + factor * (away + usual)
    return Expected(value, tolerance, free)


def _kind_of(array: Array) -> Array:
    """0 for a finite number, 1 for nan, 2 and 3 for the infinities."""
    if array.dtype.kind != "f":
        return np.zeros(array.shape, np.int8)
    kind = np.where(np.isnan(array), 1, np.where(np.isposinf(array), 2, 0))
    return np.asarray(np.where(np.isneginf(array), 3, kind))


def _problem(got: Array, expected: Expected, dtype: np.dtype[Any]) -> str | None:
    value = expected.value
    if got.shape != value.shape or got.dtype != dtype:
        return f"{got.dtype}{list(got.shape)} instead of {dtype}{list(value.shape)}"
    wrong = _kind_of(got) != _kind_of(value)
    if value.dtype.kind == "f":
        with np.errstate(all="ignore"):
            away = np.abs(got.astype(np.float64) - value)
        wrong |= np.isfinite(value) & ~(away <= expected.tolerance)
    else:
        wrong |= got != value
    wrong &= ~expected.free
    if not wrong.any():
        return None
    worst = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"{int(wrong.sum())} of {wrong.size} elements are wrong, first at {list(worst)}: "
        f"{got[worst]!s} instead of {value[worst]!s} (tolerance {expected.tolerance[worst]:.3g})"
    )
