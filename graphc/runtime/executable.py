"""Executables: a compiled graph that checks what it is fed.

Sessions keep parameters bound between calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.types import DType, TensorType
from graphc.ops.interpret import check_shape
from graphc.runtime.backend import Runner

Array = np.ndarray[Any, Any]


class Executable:
    """A compiled graph.

    ``run(x, **params)``: data inputs by position in the graph's order, any input by name. Returns
    the output, or a tuple of outputs. Donated inputs are copied first, so what the caller passes in
    is never written to.
    """

    def __init__(self, graph: Graph, runner: Runner) -> None:
        self.graph = graph
        self.runner = runner

    def __call__(self, *data: Any, **named: Any) -> Any:
        inputs = _named_inputs(self.graph, data, named)
        n = _prepare(self.graph, inputs)
        for _, source in self.graph.donations:
            name = self.graph.inputs[source].attrs["name"]
            inputs[name] = inputs[name].copy()
        outputs = self.runner.run(inputs, n)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def bind(self, held: Mapping[str, Array]) -> Session:
        """A session in which the named inputs are these arrays, overwritten where donated.

        Raises GraphcError if an array is not writable, contiguous and of the input's type.
        """
        return Session(self.graph, self.runner, held)

    def explain(self) -> str:
        """Per kernel: the ops fused, the algorithm, FLOPs and bytes."""
        return self.runner.explain()


class Session:
    """An executable with parameters and states bound: only data is passed at each call."""

    def __init__(self, graph: Graph, runner: Runner, held: Mapping[str, Array]) -> None:
        self.graph = graph
        self.runner = runner
        self.held = dict(held)
        types = {i.attrs["name"]: i.tensor for i in graph.inputs}
        for name, array in self.held.items():
            if name in types:
                _check_held(name, array, types[name])
        self.data = tuple(i for i in graph.inputs if i.attrs["name"] not in self.held)
        donated = {output for output, _ in graph.donations}
        self.kept = tuple(k for k in range(len(graph.outputs)) if k not in donated)

    def __call__(self, *data: Any) -> tuple[Array, ...]:
        """Runs on the data inputs, in the graph's order.

        Returns the outputs that are not donated.
        """
        if len(data) != len(self.data):
            listed = ", ".join(str(i.attrs["name"]) for i in self.data)
            raise GraphcError(
                f"{len(data)} arrays were given", remedy=f"give one for each of: {listed}"
            )
        inputs = dict(self.held)
        for node, value in zip(self.data, data, strict=True):
            inputs[node.attrs["name"]] = value
        n = _prepare(self.graph, inputs, [i.attrs["name"] for i in self.data])
        outputs = self.runner.run(inputs, n)
        return tuple(outputs[k] for k in self.kept)


def _named_inputs(graph: Graph, data: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    inputs = dict(named)
    known = {i.attrs["name"] for i in graph.inputs}
    unknown = sorted(set(inputs) - known)
    if unknown:
        raise GraphcError(
            f"graph {graph.name} has no input {unknown[0]!r}",
            remedy="its inputs: " + ", ".join(sorted(known)),
        )
    free = [
        i.attrs["name"]
        for i in graph.inputs
        if i.attrs["kind"] == "data" and i.attrs["name"] not in inputs
    ]
    if len(data) > len(free):
        raise GraphcError(
            f"{len(data)} arrays were given by position, the graph takes {len(free)}",
            remedy="data inputs: " + (", ".join(free) or "none"),
        )
    inputs.update(zip(free, data, strict=False))
    return inputs


def _prepare(graph: Graph, inputs: dict[str, Any], checked: list[str] | None = None) -> int:
    """Checks inputs, makes each a C-contiguous array of its dtype; returns the batch size."""
    n, source = None, ""
    for node in graph.inputs:
        name, type = node.attrs["name"], node.tensor
        if name not in inputs:
            raise GraphcError(
                f"input {name!r} of type {type} was not given", remedy=f"pass {name}=array"
            )
        if checked is not None and name not in checked:
            continue
        array = as_array(name, inputs[name], type)
        inputs[name] = array
        axis = type.batch_axis
        if axis is None:
            continue
        if n is not None and array.shape[axis] != n:
            raise GraphcError(
                f"input {name!r} has batch {array.shape[axis]} but {source!r} has {n}",
                remedy="give arrays with the same number of samples",
            )
        n, source = array.shape[axis], name
    if n == 0:
        raise GraphcError(f"input {source!r} has an empty batch", remedy="give at least one sample")
    return 1 if n is None else n


def as_array(name: str, value: Any, type: TensorType) -> Array:
    """`value` as a C-contiguous array of exactly the type's dtype.

    Safe conversions are made (f64 to f32, any integer to the labels' integer); anything else raises
    GraphcError.
    """
    wanted = type.dtype.numpy
    if not (isinstance(value, np.ndarray) and value.dtype == wanted and value.flags.c_contiguous):
        given = np.asarray(value)
        convertible = (
            given.dtype == wanted
            or (given.dtype.kind == "f" and type.dtype.is_float)
            or (
                given.dtype.kind in "iu"
                and type.dtype is not DType.bool
                and (np.ndim(value) == 0 or not type.dtype.is_float)
            )
        )
        if not convertible:
            raise GraphcError(
                f"input {name!r} is {given.dtype}, but {type} is expected",
                remedy=f"convert it on purpose: array.astype({wanted.name!r})",
            )
        value = np.ascontiguousarray(given, dtype=wanted).reshape(given.shape)
    check_shape(name, value.shape, type)
    return value  # type: ignore[no-any-return]


def _check_held(name: str, array: Array, type: TensorType) -> None:
    fits = array.dtype == type.dtype.numpy and array.flags.c_contiguous and array.flags.writeable
    if not fits:
        raise GraphcError(
            f"{name!r} must be a writable C-contiguous {type.dtype.numpy.name} array to be bound",
            remedy="pass np.array(value, dtype, order='C')",
        )
    check_shape(name, array.shape, type)
