"""Gradients against finite differences, in f64, along random directions, first and second order.

A graph with outputs y_k becomes the scalar L = sum_k <r_k, y_k> with random r_k, so that every
output counts. For each input x and a random direction v, <dL/dx, v> must be the slope of L along v.
At a kink any value between the two one-sided slopes is right. The second order checks S = sum_x
<dL/dx, u_x> in the same way. It refuses to know how a gradient was made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number, generator_of
from graphc.base.errors import GraphcError
from graphc.compiler import compile
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType
from graphc.ops.create import full
from graphc.ops.elementwise import add, mul
from graphc.ops.reductions import sum as sum_of
from graphc.passes.autodiff import gradients
from graphc.passes.retype import retype
from graphc.tracing.trace import trace_callable

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Any] | Sequence[Any]
ORDERS = ("first", "second")
TOLERANCE = 1e-5


@dataclass(frozen=True)
class GradientCheck:
    """The worst relative error of each input's gradient, by the input's name.

    second is empty if only the first order was checked.
    """

    first: Mapping[str, float]
    second: Mapping[str, float] = field(default_factory=dict)

    @property
    def worst(self) -> float:
        """The largest relative error of all."""
        return max((*self.first.values(), *self.second.values()), default=0.0)


@dataclass(frozen=True)
class _Slope:
    """Finite differences of L along one direction.

    kink: whether the one-sided slopes stay apart as the step shrinks. uncertainty: of `central`.
    """

    backward: float
    forward: float
    central: float
    uncertainty: float
    kink: bool

    def away(self, analytic: float) -> float:
        """How far `analytic` is from the slope; at a kink, from the interval of both slopes."""
        if not self.kink:
            return abs(analytic - self.central)
        low, high = sorted((self.backward, self.forward))
        return max(low - analytic, analytic - high, 0.0)


def check_grads(
    graph: Graph | Callable[..., Any],
    inputs: Inputs,
    *,
    order: int = 2,
    backend: str = "numpy",
    eps: float = 1e-5,
    seed: int = 0,
    wrt: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> GradientCheck:
    """Compares gradients with finite differences of step `eps` along random directions, in f64.

    graph: a graph, or a callable on traced tensors; floats become f64, so f32 graphs will do.
    Parameters of a network that `inputs` does not name get their initial values.
    inputs: arrays by name, or in the order of the inputs.
    order: 1 checks gradients, 2 also the gradients of the gradients. wrt: input names; by default
    every float input. tolerance: of the relative error. Raises GraphcError with the input, the
    analytic and the numeric value at the first that is wrong.
    """
    if order not in (1, 2):
        raise GraphcError(f"check_grads: order {order!r}", remedy="check order 1, or 1 and 2")
    check_number("check_grads: eps", eps, 1e-12)
    if tolerance != math.inf:
        check_number("check_grads: tolerance", tolerance, 0.0)
    rng = generator_of("check_grads: seed", seed)
    if isinstance(graph, Graph):
        exact, arrays = retype(graph), _by_name(graph, inputs)
    else:
        exact, arrays = _traced(graph, inputs, rng)
    arrays = {
        name: as_numbers(f"check_grads: input {name!r}", _given(arrays, i), i.tensor.dtype.numpy)
        for name, i in ((i.attrs["name"], i) for i in exact.inputs)
    }
    sources = _sources(exact, wrt)
    loss, weights = _projected(exact, exact.outputs, "output")
    slopes = gradients(loss, sources)
    checker = _Checker(exact, arrays, backend, eps, rng, tolerance)
    first = checker.check(loss, slopes, sources, weights, ORDERS[0])
    if order == 1:
        return GradientCheck(first)
    total, more = _projected(exact, slopes, "gradient")
    second = checker.check(total, gradients(total, sources), sources, [*weights, *more], ORDERS[1])
    return GradientCheck(first, second)


@dataclass(frozen=True)
class _Checker:
    """Evaluates a scalar and its analytic gradients, and compares."""

    graph: Graph
    arrays: Mapping[str, Array]
    backend: str
    eps: float
    rng: np.random.Generator
    tolerance: float

    def check(
        self,
        scalar: Node,
        analytic: Sequence[Node],
        sources: Sequence[Node],
        weights: Sequence[Node],
        order: str,
    ) -> dict[str, float]:
        """The relative error by input name."""
        inputs = (*self.graph.inputs, *weights)
        n = _batch(self.graph, self.arrays)
        fed = dict(self.arrays) | {
            w.attrs["name"]: self.rng.standard_normal(w.tensor.concrete(n)) for w in weights
        }
        together = Graph(f"{self.graph.name}_{order}", inputs, (scalar, *analytic))
        value, *found = _many(compile(together, self.backend)(**fed))
        alone = compile(Graph(f"{self.graph.name}_value", inputs, (scalar,)), self.backend)

        def at(name: str, step: Array) -> float:
            return float(alone(**(fed | {name: fed[name] + step})))

        errors: dict[str, float] = {}
        for source, gradient in zip(sources, found, strict=True):
            name = source.attrs["name"]
            direction = self.rng.standard_normal(fed[name].shape)
            product = float(np.sum(np.asarray(gradient) * direction))
            scale = 1e-3 * float(np.sqrt(np.sum((np.asarray(gradient) * direction) ** 2))) + 1e-9
            slope = self._slope(lambda h: at(name, h * direction), float(value))  # noqa: B023
            away, size = slope.away(product), max(abs(product), abs(slope.central), scale)
            errors[name] = away / size if size > slope.uncertainty else 0.0
            if not away <= self.tolerance * size + slope.uncertainty:
                raise GraphcError(
                    f"the {order} gradient of {name!r} is wrong: analytic {product:.10g}, numeric "
                    f"{slope.central:.10g} (from the left {slope.backward:.10g}, "
                    f"from the right {slope.forward:.10g})",
                    node=str(self.graph),
                    remedy="check the vjp of the ops in this graph, one at a time",
                )
        return errors

    def _slope(self, along: Callable[[float], float], middle: float) -> _Slope:
        """Differences with two steps; what they disagree by, and rounding, is uncertain."""
        wide, narrow = self.eps, self.eps / 4
        value = {h: along(h) for h in (-wide, -narrow, narrow, wide)}
        rounding = 1e-14 * max(map(abs, (middle, *value.values()))) / narrow
        central = {h: (value[h] - value[-h]) / (2 * h) for h in (wide, narrow)}
        gap = {h: abs(value[h] + value[-h] - 2 * middle) / h for h in (wide, narrow)}
        refined = (16 * central[narrow] - central[wide]) / 15
        return _Slope(
            backward=(middle - value[-narrow]) / narrow,
            forward=(value[narrow] - middle) / narrow,
            central=refined,
            uncertainty=abs(refined - central[narrow]) + rounding,
            kink=gap[narrow] > gap[wide] / 2,
        )


def _many(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _by_name(graph: Graph, inputs: Inputs) -> dict[str, Any]:
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if len(inputs) != len(graph.inputs):
        raise GraphcError(
            f"{len(inputs)} arrays were given for the {len(graph.inputs)} inputs of {graph.name}",
            remedy="give one for each of: " + ", ".join(i.attrs["name"] for i in graph.inputs),
        )
    return {i.attrs["name"]: a for i, a in zip(graph.inputs, inputs, strict=True)}


def _given(arrays: Mapping[str, Any], node: Node) -> Any:
    name = node.attrs["name"]
    if name not in arrays:
        raise GraphcError(
            f"check_grads: input {name!r} of type {node.type} was not given",
            remedy="give an array for every input",
        )
    return arrays[name]


def _traced(
    function: Callable[..., Any], inputs: Inputs, rng: np.random.Generator
) -> tuple[Graph, dict[str, Any]]:
    """The f64 graph of a callable for these arrays; and the arrays, parameters included."""
    given = list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)
    names = list(inputs) if isinstance(inputs, Mapping) else None
    arrays = [as_numbers("check_grads: an input", a) for a in given]
    found = trace_callable(function, [_type_of(a) for a in arrays], names=names)
    graph = found.graph(getattr(function, "__name__", type(function).__name__).strip("<>"))
    values: dict[str, Any] = {
        node.attrs["name"]: array for node, array in zip(found.data, arrays, strict=True)
    }
    for table in (found.trace.parameters, found.trace.states):
        for name, (node, initializer) in table.items():
            values[name] = initializer(node.tensor.concrete(1), rng)
    return retype(graph), values


def _type_of(array: Array) -> TensorType:
    """The graph is built in f32, the dtype of the parameters, and becomes f64 as a whole."""
    dtype = next((d for d in DType if d.numpy == array.dtype), DType.f32)
    return TensorType(DType.f32 if array.dtype.kind == "f" else dtype, array.shape)


def _sources(graph: Graph, wrt: Sequence[str] | None) -> list[Node]:
    if wrt is not None:
        return [graph.input_named(name) for name in wrt]
    return [i for i in graph.inputs if i.tensor.dtype.is_float]


def _projected(graph: Graph, values: Sequence[Node], what: str) -> tuple[Node, list[Node]]:
    """The sum of <weight, value> over float values, and the weights, inputs of their own."""
    total: Node = full(0.0, dtype=DType.f64)
    weights = []
    for position, value in enumerate(values):
        if not value.tensor.dtype.is_float:
            continue
        weight = make_input(f"weight of {what} {position}", value.tensor)
        weights.append(weight)
        total = add(total, sum_of(mul(weight, value)))
    return total, weights


def _batch(graph: Graph, arrays: Mapping[str, Array]) -> int:
    for node in graph.inputs:
        axis = node.tensor.batch_axis
        if axis is not None:
            return int(arrays[node.attrs["name"]].shape[axis])
    return 1
