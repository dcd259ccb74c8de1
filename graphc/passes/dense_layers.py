"""Dense layers in a graph: matmul(x, transpose(W)), W a parameter [outputs, inputs].

What finds them, names them and reads their values is here once, for every pass that rewrites them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Node

Array = np.ndarray[Any, Any]


def dense_weights(graph: Graph) -> list[Node]:
    """Every parameter that is only read as the W of matmul(x, transpose(W))."""
    users = graph.users()
    outputs = set(graph.outputs)

    def is_dense(weight: Node) -> bool:
        turned = users[weight]
        products = [(t, p) for t in turned for p in users[t]]
        return (
            weight.attrs["kind"] == "parameter"
            and weight.tensor.rank == 2
            and weight.tensor.batch_axis is None
            and not {weight, *turned} & outputs
            and bool(products)
            and all(t.op.name == "transpose" and t.attrs["axes"] == (1, 0) for t in turned)
            and all(p.op.name == "matmul" and p.inputs[0] is not t for t, p in products)
        )

    return [node for node in graph.inputs if is_dense(node)]


def weight_of(node: Node) -> Node | None:
    """W of matmul(x, transpose(W)); None for any other node."""
    if node.op.name != "matmul" or node.inputs[1].op.name != "transpose":
        return None
    return node.inputs[1].inputs[0]


def named_weights(found: Sequence[Node], names: str, step: str, what: str) -> list[Node]:
    """Of the weights `found` those of the layers (or weights) in `names`, joined by +.

    All of them if `names` is empty. step, what: the pass and the kind of layer, for the message.
    Raises GraphcError for a name that none of them has.
    """
    if not names:
        return list(found)
    chosen: set[Node] = set()
    for wanted in names.split("+"):
        named = [w for w in found if w.attrs["name"] in (wanted, f"{wanted}.weight")]
        if not named:
            raise GraphcError(
                f"{step}: there is no {what} layer {wanted!r}",
                remedy=f"{what} layers: "
                + (", ".join(str(w.attrs["name"]) for w in found) or "none"),
            )
        chosen.update(named)
    return [w for w in found if w in chosen]


def value_of(weight: Node, values: Mapping[str, Any], step: str) -> Array:
    """The value of a parameter. Raises GraphcError if it is absent, misshapen or not finite."""
    name = weight.attrs["name"]
    found = np.asarray(values[name]) if name in values else np.zeros(0)
    fits = found.shape == weight.tensor.concrete(1) and found.dtype.kind in "fiu"
    if not fits or not np.isfinite(found).all():
        shape = f"given as an array of shape {list(found.shape)} of {found.dtype}"
        problem = "not finite" if fits else shape if name in values else "not given"
        raise GraphcError(
            f"{step}: {name} of type {weight.tensor} is {problem}",
            remedy="give the trained parameters by name",
        )
    return found
