"""Convolutions as the dense layers that they are: products with a large, mostly empty matrix.

For looking and teaching: an image of C H W numbers goes to one of K H' W' by a matrix of which each
row holds one filter at one place (a Toeplitz matrix, block by block). The matrix is what the
convolution makes of the images that are a single 1. The graph changes by structure alone; the
matrices are a function of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.base.errors import GraphcError
from graphc.base.source import written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, remake
from graphc.ir.types import TensorType
from graphc.ops.contractions import matmul
from graphc.ops.interpret import evaluate
from graphc.ops.views import flatten, reshape, transpose
from graphc.passes.base import Pass
from graphc.passes.dense_layers import named_weights, value_of
from graphc.passes.fuse import unfused

if TYPE_CHECKING:
    from rich.table import Table

Array = np.ndarray[Any, Any]
LARGEST = 1 << 26
CONVOLUTIONS = ("conv2d", "conv2d_input_grad")
STEP = "conv_to_dense"


@dataclass(frozen=True)
class SparseLayer:
    """A convolution's matrix [rows, columns] = [K H' W', C H W].

    zeros: the share of its elements at which no weight stands.
    """

    weight: str
    rows: int
    columns: int
    zeros: float


@dataclass(frozen=True)
class SparseLayers:
    """Every convolution that became a matrix, in the order of the graph's inputs."""

    layers: tuple[SparseLayer, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        return {"layers": [asdict(layer) for layer in self.layers]}

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(title="convolutions as matrices")
        for column in ("weight", "rows", "columns", "zeros"):
            table.add_column(column, justify="left" if column == "weight" else "right")
        for c in self.layers:
            table.add_row(c.weight, f"{c.rows:,}", f"{c.columns:,}", f"{c.zeros:.4%}")
        return table


@dataclass(frozen=True)
class ConvToDense(Pass):
    """Every convolution becomes a product with the matrix that it is.

    y = conv2d(x, w)  ->  y = reshape(matmul(flatten(x), W^T)), with W [K H' W', C H W]

    layer: names of layers or weights, joined by +, instead of every convolution whose weight is a
    parameter that nothing else reads. Transposed convolutions count too: their matrix is the
    transpose of the convolution's. Raises GraphcError for a matrix of more than 2^26 elements.
    """

    name: ClassVar[str] = STEP
    changes_values: ClassVar[bool] = True
    layer: str = ""

    def run(self, graph: Graph) -> Graph:
        plain = unfused(graph)
        chosen = self.convolutions(plain)
        return _with_matrices(plain, chosen) if chosen else graph

    def convolutions(self, graph: Graph) -> dict[Node, Node]:
        """The weights to be turned into matrices, and the convolution that reads each."""
        users = graph.users()
        found = {
            weight: users[weight][0]
            for weight in graph.inputs
            if weight.attrs["kind"] == "parameter"
            and len(users[weight]) == 1
            and weight not in graph.outputs
            and users[weight][0].op.name in CONVOLUTIONS
            and users[weight][0].inputs[1] is weight
        }
        chosen = named_weights(list(found), self.layer, self.name, "convolution")
        for weight in chosen:
            _check_size(weight, found[weight])
        return {weight: found[weight] for weight in chosen}


def conv_to_dense(
    graph: Graph, params: Mapping[str, Any], *, layers: Sequence[str] | None = None
) -> tuple[Graph, dict[str, Array], SparseLayers]:
    """`graph` and its parameters with convolutions as matrix products, and a report.

    "conv.weight" [K,C,R,S] becomes the matrix "conv.weight" [K H' W', C H W]. layers: names of
    layers ("conv") or weights; every convolution by default. Raises GraphcError for a matrix that
    is too large to look at.
    """
    step = ConvToDense("+".join(layers or ()))
    values = {name: np.asarray(value) for name, value in params.items()}
    report = []
    for weight, convolution in step.convolutions(unfused(graph)).items():
        name, value = weight.attrs["name"], value_of(weight, params, STEP)
        values[name] = matrix_of(convolution, value)
        taken = matrix_of(convolution, np.ones_like(value))
        zeros = 1.0 - int(np.count_nonzero(taken)) / taken.size
        report.append(SparseLayer(name, len(taken), taken.shape[1], zeros))
    return step.run(graph), values, SparseLayers(tuple(report))


def matrix_of(convolution: Node, weight: Array) -> Array:
    """The matrix [K H' W', C H W] of a convolution with these weights."""
    shape = convolution.inputs[0].tensor.concrete(1)[1:]
    places = math.prod(shape)
    basis = np.eye(places, dtype=weight.dtype).reshape(places, *shape)
    images = evaluate(convolution, [basis, weight], places)
    return np.ascontiguousarray(images.reshape(places, -1).T)


def _extents(convolution: Node) -> tuple[int, int]:
    """(K H' W', C H W): how many numbers an image has after and before."""
    after, before = (n.tensor.concrete(1)[1:] for n in (convolution, convolution.inputs[0]))
    return math.prod(after), math.prod(before)


def _check_size(weight: Node, convolution: Node) -> None:
    rows, columns = _extents(convolution)
    if rows * columns > LARGEST:
        raise GraphcError(
            f"{STEP}: {weight.attrs['name']} would be a matrix of {rows} x {columns} elements, "
            f"over the limit of {LARGEST}",
            location=convolution.location,
            remedy="name smaller layers, or trace the network for smaller images",
        )


def _with_matrices(graph: Graph, chosen: Mapping[Node, Node]) -> Graph:
    matrices = {}
    for weight, convolution in chosen.items():
        type = TensorType(weight.tensor.dtype, _extents(convolution))
        matrices[weight] = make_input(weight.attrs["name"], type, "parameter")
    weights = {convolution: weight for weight, convolution in chosen.items()}
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if node not in weights:
            new[node] = remake(node, tuple(new[i] for i in node.inputs))
            continue
        with written_at(node.location, f"{node.op.name} as a matrix"):
            product = matmul(flatten(new[node.inputs[0]]), transpose(matrices[weights[node]]))
            new[node] = reshape(product, shape=node.tensor.shape)
    inputs = [matrices.get(i, i) for i in graph.inputs]
    return Graph(graph.name, inputs, [new[o] for o in graph.outputs], graph.donations)
