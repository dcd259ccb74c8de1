"""The meaning of a graph: one loop that runs each op's numpy function. Every test's oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.types import TensorType, TupleType
from graphc.ops.op import op_of

Array = np.ndarray[Any, Any]


def interpret(
    graph: Graph,
    inputs: Mapping[str, Any],
    n: int | None = None,
    watch: Callable[[Node, Any], object] | None = None,
) -> list[Array]:
    """The outputs of `graph` for named input arrays.

    `n` is needed only if no input shows the batch size. watch: called with every node and its
    value (a tuple of arrays if it has several results) as soon as that is known.
    """
    n = batch_of(graph, inputs) if n is None else n
    values: dict[Node, Any] = {}
    remaining = {node: len(users) for node, users in graph.users().items()}
    kept = {*graph.outputs}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.op.name == "input":
                values[node] = np.asarray(inputs[node.attrs["name"]])
            else:
                values[node] = evaluate(node, [values[i] for i in node.inputs], n)
            if watch is not None:
                watch(node, values[node])
            for source in node.inputs:
                remaining[source] -= 1
                if not remaining[source] and source not in kept:
                    values.pop(source, None)
    return [values[o] for o in graph.outputs]


def evaluate(node: Node, arrays: list[Any], n: int) -> Any:
    """One op on arrays, its results in the dtype and shape that the node's type says."""
    op = op_of(node)
    if op.numpy is None:
        return _by_decomposition(node, arrays, n)
    keywords = dict(node.attrs)
    if op.family not in ("elementwise", "contraction"):
        keywords["n"] = n
    result = op.numpy(*arrays, **keywords)
    if isinstance(node.type, TupleType):
        return tuple(
            np.asarray(r, t.dtype.numpy) for r, t in zip(result, node.type.elements, strict=True)
        )
    return np.asarray(result, node.type.dtype.numpy)


def _by_decomposition(node: Node, arrays: list[Any], n: int) -> Any:
    from graphc.ir.graph import make_input

    op = op_of(node)
    assert op.decompose is not None
    names = [f"input{k}" for k in range(len(arrays))]
    stand_ins = [make_input(name, i.tensor) for name, i in zip(names, node.inputs, strict=True)]
    found = op.decompose(*stand_ins, **node.attrs)
    outputs = found if isinstance(found, tuple) else (found,)
    results = interpret(
        Graph(op.name, stand_ins, outputs), dict(zip(names, arrays, strict=True)), n
    )
    return tuple(results) if isinstance(found, tuple) else results[0]


def batch_of(graph: Graph, inputs: Mapping[str, Any]) -> int:
    """The batch size that the inputs agree on, 1 if none has a batch.

    Raises GraphcError for a missing input, a wrong rank or extent, or batches that differ.
    """
    found: tuple[int, str] | None = None
    for node in graph.inputs:
        name, type = node.attrs["name"], node.tensor
        if name not in inputs:
            raise GraphcError(
                f"input {name!r} of type {type} was not given", remedy=f"pass {name}=array"
            )
        shape = np.shape(inputs[name])
        check_shape(name, shape, type)
        axis = type.batch_axis
        if axis is None:
            continue
        if found is not None and found[0] != shape[axis]:
            raise GraphcError(
                f"input {name!r} has batch {shape[axis]} but {found[1]!r} has {found[0]}",
                remedy="give arrays with the same number of samples",
            )
        found = (shape[axis], name)
    return found[0] if found else 1


def check_shape(name: str, shape: tuple[int, ...], type: TensorType) -> None:
    """Raises GraphcError unless an array of `shape` fits `type`."""
    fits = len(shape) == type.rank and all(
        not isinstance(d, int) or d == s for d, s in zip(type.shape, shape, strict=True)
    )
    if not fits:
        given = "x".join(map(str, shape)) or "a scalar"
        raise GraphcError(
            f"input {name!r} has the shape {list(shape)}, but {type} is expected"
            + (f" ({len(shape)} axes instead of {type.rank})" if len(shape) != type.rank else ""),
            remedy=f"reshape the array ({given}) to {list(type.shape)}",
        )
