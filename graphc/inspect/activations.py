"""What every layer of a network computes: a second model whose outputs are the layers' results.

It knows graphs and models, no layer of the front end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.inspect.summary import layers_of
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.types import TensorType
from graphc.ops.op import family_of
from graphc.train.model import Model

Array = np.ndarray[Any, Any]
PLAIN = ("elementwise", "view", "create", "alias")


def activations(model: Model, x: Any, layers: Sequence[str] | None = None) -> dict[str, Array]:
    """The result of each layer for a batch x, [n,...], in prediction mode, by the layer's name.

    The name is the layer's path and its main op, "0 conv2d". layers: some of them, by name or
    path. Raises GraphcError for a layer that does not exist, and for an x that does not fit.
    """
    forward = model.graphs["forward"]
    chosen = _chosen(layer_results(forward), layers)
    looking = Model(Graph(f"{forward.name}_layers", forward.inputs, list(chosen.values())))
    if looking.params:
        looking.load_params({name: model.params[name] for name in looking.params})
    results = looking.predict(x)
    arrays = results if isinstance(results, tuple) else (results,)
    return dict(zip(chosen, arrays, strict=True))


def layer_results(forward: Graph) -> dict[str, Node]:
    """The last node of each layer of a forward graph that computes something of samples, by name,
    in order.
    """
    found: dict[str, Node] = {}
    for layer in layers_of(forward):
        if not _has_samples(layer.last) or all(family_of(n) == "alias" for n in layer.nodes):
            continue  # an alias is another name for what the layer before has computed
        plain = name = f"{layer.path} {_main_op(layer.nodes)}".strip()
        count = 1
        while name in found:
            count += 1
            name = f"{plain} {count}"
        found[name] = layer.last
    return found


def _main_op(nodes: list[Node]) -> str:
    """The op that a layer is known by: the first that is no arithmetic between elements, if there
    is more than one; "" if there is none, as in the scaling of a batch normalisation.
    """
    telling = [n.op.name for n in nodes if family_of(n) not in PLAIN]
    return nodes[0].op.name if len(nodes) == 1 else next(iter(telling), "")


def _chosen(results: dict[str, Node], layers: Sequence[str] | None) -> dict[str, Node]:
    if layers is None:
        return results
    found: dict[str, Node] = {}
    for layer in layers:
        matching = {n: r for n, r in results.items() if layer in (n, n.partition(" ")[0])}
        if not matching:
            raise GraphcError(
                f"there is no layer {layer!r}", remedy=f"layers: {', '.join(results)}"
            )
        found |= matching
    return found


def _has_samples(node: Node) -> bool:
    """Whether a node is one float tensor with the batch in front."""
    type = node.type
    return isinstance(type, TensorType) and type.dtype.is_float and type.batch_axis == 0
