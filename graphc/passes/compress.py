"""Low-rank compression of dense layers by truncated singular value decomposition.

A dense layer of u outputs and v inputs becomes two, of t (u + v) weights together. The graph
changes by structure alone; the new weights are a function of the old ones. What singular values say
of ranks is in `singular_values`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphc.base.errors import GraphcError
from graphc.base.source import written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, remake
from graphc.ir.types import TensorType
from graphc.ops.contractions import matmul
from graphc.ops.views import transpose
from graphc.passes.base import Pass
from graphc.passes.dense_layers import dense_weights, named_weights, value_of, weight_of
from graphc.passes.fuse import unfused
from graphc.passes.singular_values import Decomposition, break_even, ranks_within

if TYPE_CHECKING:
    from rich.table import Table

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class CompressedLayer:
    """What became of one weight matrix of u outputs and v inputs.

    rank: t. before, after: number of weights. residual: sigma_(t+1), the exact 2-norm of W - W_t.
    energy: the sum of the squares of the kept singular values over that of all.
    """

    weight: str
    rank: int
    before: int
    after: int
    residual: float
    energy: float


@dataclass(frozen=True)
class CompressedLayers:
    """Every compressed layer, in the order of the graph's inputs."""

    layers: tuple[CompressedLayer, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        return {
            "layers": [vars(layer) for layer in self.layers],
            "before": sum(layer.before for layer in self.layers),
            "after": sum(layer.after for layer in self.layers),
        }

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(title="compressed dense layers")
        for column in ("weight", "rank", "before", "after", "residual", "energy"):
            table.add_column(column, justify="left" if column == "weight" else "right")
        for c in self.layers:
            numbers = (f"{c.rank}", f"{c.before:,}", f"{c.after:,}")
            table.add_row(c.weight, *numbers, f"{c.residual:.4g}", f"{c.energy:.4%}")
        return table


@dataclass(frozen=True)
class CompressDense(Pass):
    """Replaces dense layers by two thinner ones, from the truncated SVD of their weights.

    y = matmul(x, W^T)  ->  y = matmul(matmul(x, (fc.weight.v)^T), (fc.weight.u)^T)

    One of these is given: rank (t, of every layer), energy (the least fraction of the sum of
    squared singular values to keep), error (the largest 2-norm of W - W_t), or budget (of weights
    that all compressed layers may have together, see `ranks_within`). layer: names of layers or
    weights, joined by +, instead of every dense layer. values: weights by name; needed by
    `parameters`, and to choose ranks by anything but a rank.

    Raises GraphcError at or beyond the break-even rank u v / (u + v), where nothing is won.
    """

    name: ClassVar[str] = "compress_dense"
    changes_values: ClassVar[bool] = True
    rank: int = 0
    energy: float = 0.0
    error: float = 0.0
    budget: int = 0
    layer: str = ""
    values: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    _known: dict[str, tuple[Array, Decomposition]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def run(self, graph: Graph) -> Graph:
        graph = unfused(graph)
        return low_rank(graph, {w.attrs["name"]: t for w, t in self.ranks(graph).items()})

    def ranks(self, graph: Graph) -> dict[Node, int]:
        """The rank t to which each weight [u, v] is cut, in the order of the graph's inputs.

        Raises GraphcError for a rank that wins nothing.
        """
        self._check_criterion()
        chosen = self._chosen(graph)
        found = [self.rank] * len(chosen) if self.rank else self._ranks_by_values(chosen)
        for weight, rank in zip(chosen, found, strict=True):
            check_rank(weight, rank, self.name)
        return dict(zip(chosen, found, strict=True))

    def parameters(self, graph: Graph, values: Mapping[str, Any]) -> dict[str, Array]:
        """The parameters of ``run(graph)`` from those of `graph`: each W as its two factors.

        "fc.weight" [u, v] becomes "fc.weight.v" = S_t V_t^T [t, v] and "fc.weight.u" = U_t [u, t].
        The decomposition is computed in f64; the factors have the weight's dtype.
        """
        return self._factored(graph, values)[0]

    def report(self, graph: Graph, values: Mapping[str, Any]) -> CompressedLayers:
        """What ``run(graph)`` does to each layer with these weights."""
        return self._factored(graph, values)[1]

    def _factored(
        self, graph: Graph, values: Mapping[str, Any]
    ) -> tuple[dict[str, Array], CompressedLayers]:
        ranks = self.ranks(unfused(graph))
        matrices = {weight: self.decomposition(weight, values) for weight in ranks}
        return factored(ranks, matrices, values)

    def _check_criterion(self) -> None:
        given = [bool(v) for v in (self.rank, self.energy, self.error, self.budget)]
        counts = (self.rank, self.budget)
        whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in counts)
        numbers = all(isinstance(v, int | float) for v in (self.energy, self.error))
        valid = whole and numbers and 0.0 <= self.energy <= 1.0 and 0.0 <= self.error < math.inf
        if sum(given) != 1 or not valid:
            raise GraphcError(
                f"{self.name}: rank={self.rank}, energy={self.energy}, error={self.error}, "
                f"budget={self.budget}",
                remedy="give one of: a rank above 0, an energy in (0, 1], an error above 0, "
                "a budget of weights above 0",
            )

    def _ranks_by_values(self, chosen: Sequence[Node]) -> list[int]:
        if self.values is None:
            raise GraphcError(
                f"{self.name}: choosing a rank by energy, error or budget needs the weights",
                remedy="give values={name: array}, or a rank",
            )
        if self.budget:
            self._check_budget(chosen)
        matrices = [self.decomposition(weight, self.values) for weight in chosen]
        if self.budget:
            return ranks_within(self.budget, matrices)
        if self.energy:
            return [m.rank_for_energy(self.energy) for m in matrices]
        return [m.rank_for_error(self.error) for m in matrices]

    def _check_budget(self, chosen: Sequence[Node]) -> None:
        """Raises GraphcError unless rank 1 of every layer is within the budget, and it saves."""
        for weight in chosen:
            check_rank(weight, 1, self.name)
        least = sum(sum(weight.tensor.concrete(1)) for weight in chosen)
        whole = sum(weight.tensor.count() for weight in chosen)
        if not least <= self.budget < whole:
            raise GraphcError(
                f"{self.name}: a budget of {self.budget} weights for {len(chosen)} layers that "
                f"have {whole} now, and {least} at rank 1",
                remedy=f"give a budget from {least} to {whole - 1}, or name other layers",
            )

    def decomposition(self, weight: Node, values: Mapping[str, Any]) -> Decomposition:
        """The decomposition of a weight's value, computed once as long as the value stays."""
        name, matrix = weight.attrs["name"], value_of(weight, values, self.name)
        known, decomposition = self._known.get(name, (None, None))
        if decomposition is None or known is None or not np.array_equal(known, matrix):
            decomposition = Decomposition.of(matrix)
            self._known[name] = (matrix.copy(), decomposition)
        return decomposition

    def _chosen(self, graph: Graph) -> list[Node]:
        """The weights to compress, in the order of the graph's inputs."""
        found = dense_weights(graph)
        if not found and not self.layer:
            raise GraphcError(
                f"{self.name}: graph {graph.name} has no dense layer matmul(x, transpose(weight))",
                remedy="compress the forward graph, before passes that change its matrix products",
            )
        return named_weights(found, self.layer, self.name, "dense")


@dataclass(frozen=True)
class TruncateDense(CompressDense):
    """The same pass under its short name: ``svd{rank=8}``.

    svd{rank=8}  ->  compress_dense{rank=8}
    """

    name: ClassVar[str] = "svd"


def compress_dense(
    graph: Graph,
    params: Mapping[str, Any],
    *,
    rank: int | None = None,
    energy: float | None = None,
    error: float | None = None,
    budget: int | None = None,
    layers: Sequence[str] | None = None,
) -> tuple[Graph, dict[str, Array], CompressedLayers]:
    """`graph` and its parameters with dense layers of lower rank, and a report.

    rank, energy, error, budget: exactly one, as for `CompressDense`. layers: names of layers ("fc")
    or weights ("fc.weight"); every dense layer by default. `params` maps names to arrays; those
    that are not compressed come back as they are.

    Raises GraphcError for a rank that wins nothing, saying the break-even rank.
    """
    step = CompressDense(
        rank=rank or 0, energy=energy or 0.0, error=error or 0.0, budget=budget or 0,
        layer="+".join(layers or ()), values=params,
    )  # fmt: skip
    new, report = step._factored(graph, params)
    return step.run(graph), new, report


def check_rank(weight: Node, rank: int, step: str) -> None:
    """Raises GraphcError unless two factors of that rank are smaller than `weight` [u, v]."""
    u, v = weight.tensor.concrete(1)
    exact, largest = break_even(u, v)
    if rank > largest:
        raise GraphcError(
            f"{step}: rank {rank} of {weight.attrs['name']} [{u}, {v}] wins nothing: "
            f"{rank} * ({u} + {v}) = {rank * (u + v)} weights instead of {u} * {v} = {u * v}; "
            f"the break-even rank is {exact:.4g}",
            location=weight.location,
            remedy=f"use a rank of at most {largest}, or name other layers",
        )


def low_rank(graph: Graph, ranks: Mapping[str, int]) -> Graph:
    """`graph` with two matrix products for every one that reads a dense weight named in `ranks`.

    "fc.weight" [u, v] becomes the inputs "fc.weight.v" [rank, v] and "fc.weight.u" [u, rank].
    """
    inputs = [
        list(_factors(i, ranks[i.attrs["name"]])) if i.attrs["name"] in ranks else [i]
        for i in graph.inputs
    ]
    factors = {i: new for i, new in zip(graph.inputs, inputs, strict=True) if len(new) > 1}
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        weight = weight_of(node)
        if weight not in factors:
            new[node] = remake(node, tuple(new[i] for i in node.inputs))
            continue
        rank = ranks[weight.attrs["name"]]
        with written_at(node.location, f"{node.origin or ''} rank {rank}".strip()):
            thin, wide = (transpose(f) for f in factors[weight])
            new[node] = matmul(matmul(new[node.inputs[0]], thin), wide)
    flat = [i for group in inputs for i in group]
    donations = [(o, flat.index(inputs[source][0])) for o, source in graph.donations]
    return Graph(graph.name, flat, [new[o] for o in graph.outputs], donations)


def factored(
    ranks: Mapping[Node, int], matrices: Mapping[Node, Decomposition], values: Mapping[str, Any]
) -> tuple[dict[str, Array], CompressedLayers]:
    """`values` with the two factors in place of each weight that `ranks` cuts, and a report."""
    factors: dict[str, dict[str, Array]] = {}
    layers = []
    for weight, t in ranks.items():
        name, matrix = weight.attrs["name"], matrices[weight]
        kind = np.asarray(values[name]).dtype
        right, left = matrix.factors(t)
        pair = {f"{name}.v": right, f"{name}.u": left}
        factors[name] = {k: np.ascontiguousarray(a, kind) for k, a in pair.items()}
        residual = float(matrix.values[t])
        counts = weight.tensor.count(), right.size + left.size
        layers.append(CompressedLayer(name, t, *counts, residual, matrix.kept[t]))
    new: dict[str, Array] = {}
    for name, value in values.items():
        new.update(factors.get(name, {name: np.asarray(value)}))
    return new, CompressedLayers(tuple(layers))


def _factors(weight: Node, rank: int) -> Iterator[Node]:
    """The inputs that replace `weight` [u, v]: first [rank, v], then [u, rank]."""
    u, v = weight.tensor.shape
    dtype, name = weight.tensor.dtype, weight.attrs["name"]
    yield make_input(f"{name}.v", TensorType(dtype, (rank, v)), "parameter")
    yield make_input(f"{name}.u", TensorType(dtype, (u, rank)), "parameter")
