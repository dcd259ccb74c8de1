"""Low-rank compression of dense layers by truncated singular value decomposition.

W = U S V^T, and W_t keeps the t largest singular values. By Eckart and Young (1936) no matrix of
rank t is nearer: ||W - W_t||_2 is exactly sigma_(t+1). A dense layer of u outputs and v inputs then
is two of t (u + v) weights together, fewer than u v below the break-even rank u v / (u + v).
The graph changes by structure alone; the new weights are a function of the old ones.
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
from graphc.passes.fuse import unfused

if TYPE_CHECKING:
    from rich.table import Table

Array = np.ndarray[Any, Any]
Factors = tuple[Array, Array, Array]


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
class CompressionReport:
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

    One of rank (t), energy (the least fraction of the sum of squared singular values to keep) and
    error (the largest 2-norm of W - W_t) is given. layer: names of layers or weights, joined by +,
    instead of every dense layer. values: weights by name; needed to choose ranks by energy or
    error, and by `parameters`.

    Raises GraphcError at or beyond the break-even rank u v / (u + v), where nothing is won.
    """

    name: ClassVar[str] = "compress_dense"
    changes_values: ClassVar[bool] = True
    rank: int = 0
    energy: float = 0.0
    error: float = 0.0
    layer: str = ""
    values: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    _known: dict[str, tuple[Array, Factors]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def run(self, graph: Graph) -> Graph:
        graph = unfused(graph)
        ranks = {weight: self.rank_of(weight) for weight in self._chosen(graph)}
        return _restructured(graph, ranks)

    def rank_of(self, weight: Node) -> int:
        """The rank t to which a weight [u, v] is cut. Raises GraphcError if it wins nothing."""
        given = [bool(self.rank), bool(self.energy), bool(self.error)]
        whole = isinstance(self.rank, int) and not isinstance(self.rank, bool)
        valid = (
            whole and self.rank >= 0 and 0.0 <= self.energy <= 1.0 and 0.0 <= self.error < math.inf
        )
        if sum(given) != 1 or not valid:
            raise GraphcError(
                f"{self.name}: rank={self.rank}, energy={self.energy}, error={self.error}",
                remedy="give one of: a rank above 0, an energy in (0, 1], an error above 0",
            )
        rank = self.rank or self._rank_by_values(weight)
        u, v = weight.tensor.concrete(1)
        if rank * (u + v) >= u * v:
            raise GraphcError(
                f"{self.name}: rank {rank} of {weight.attrs['name']} [{u}, {v}] wins nothing: "
                f"{rank} * ({u} + {v}) = {rank * (u + v)} weights instead of {u} * {v} = {u * v}; "
                f"the break-even rank is {u * v / (u + v):.4g}",
                location=weight.location,
                remedy=f"use a rank of at most {(u * v - 1) // (u + v)}, or name other layers",
            )
        return rank

    def parameters(self, graph: Graph, values: Mapping[str, Any]) -> dict[str, Array]:
        """The parameters of ``run(graph)`` from those of `graph`: each W as its two factors.

        "fc.weight" [u, v] becomes "fc.weight.v" = S_t V_t^T [t, v] and "fc.weight.u" = U_t [u, t].
        The decomposition is computed in f64; the factors have the weight's dtype.
        """
        return self._factored(graph, values)[0]

    def report(self, graph: Graph, values: Mapping[str, Any]) -> CompressionReport:
        """What ``run(graph)`` does to each layer with these weights."""
        return self._factored(graph, values)[1]

    def _factored(
        self, graph: Graph, values: Mapping[str, Any]
    ) -> tuple[dict[str, Array], CompressionReport]:
        factors: dict[str, dict[str, Array]] = {}
        layers = []
        for weight in self._chosen(unfused(graph)):
            name, t = weight.attrs["name"], self.rank_of(weight)
            u, s, v = self._svd(weight, values)
            kind = np.asarray(values[name]).dtype
            pair = {f"{name}.v": s[:t, None] * v[:t], f"{name}.u": u[:, :t]}
            factors[name] = {k: np.ascontiguousarray(a, kind) for k, a in pair.items()}
            after = sum(a.size for a in pair.values())
            layers.append(
                CompressedLayer(name, t, u.shape[0] * v.shape[1], after, float(s[t]), _kept(s)[t])
            )
        new: dict[str, Array] = {}
        for name, value in values.items():
            new.update(factors.get(name, {name: np.asarray(value)}))
        return new, CompressionReport(tuple(layers))

    def _rank_by_values(self, weight: Node) -> int:
        if self.values is None:
            raise GraphcError(
                f"{self.name}: choosing a rank by energy or error needs the weights",
                remedy="give values={name: array}, or a rank",
            )
        _, s, _ = self._svd(weight, self.values)
        kept = _kept(s)
        enough = (
            (t for t in range(1, len(s)) if kept[t] >= self.energy)
            if self.energy
            else (t for t in range(1, len(s)) if s[t] <= self.error)
        )
        return next(enough, len(s))

    def _svd(self, weight: Node, values: Mapping[str, Any]) -> Factors:
        """U, the singular values and V^T of a weight: one decomposition, for ranks and factors."""
        name, matrix = weight.attrs["name"], _matrix(weight, values)
        known, factors = self._known.get(name, (None, None))
        if factors is None or known is None or not np.array_equal(known, matrix):
            u, s, v = np.linalg.svd(matrix, full_matrices=False)
            factors = (u, s, v)
            self._known[name] = (matrix, factors)
        return factors

    def _chosen(self, graph: Graph) -> list[Node]:
        """The weights to compress, in the order of the graph's inputs."""
        found = _dense_weights(graph)
        if not self.layer:
            if found:
                return found
            raise GraphcError(
                f"{self.name}: graph {graph.name} has no dense layer matmul(x, transpose(weight))",
                remedy="compress the forward graph, before passes that change its matrix products",
            )
        chosen = []
        for wanted in self.layer.split("+"):
            named = [w for w in found if w.attrs["name"] in (wanted, f"{wanted}.weight")]
            if not named:
                raise GraphcError(
                    f"{self.name}: there is no dense layer {wanted!r}",
                    remedy="dense layers: " + (", ".join(w.attrs["name"] for w in found) or "none"),
                )
            chosen += named
        return [w for w in found if w in chosen]


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
    layers: Sequence[str] | None = None,
) -> tuple[Graph, dict[str, Array], CompressionReport]:
    """`graph` and its parameters with dense layers of lower rank, and a report.

    rank, energy, error: exactly one, as for `CompressDense`. layers: names of layers ("fc") or
    weights ("fc.weight"); every dense layer by default. `params` maps names to arrays; those that
    are not compressed come back as they are.

    Raises GraphcError for a rank that wins nothing, saying the break-even rank.
    """
    step = CompressDense(
        rank=rank or 0, energy=energy or 0.0, error=error or 0.0,
        layer="+".join(layers or ()), values=params,
    )  # fmt: skip
    new, report = step._factored(graph, params)
    return step.run(graph), new, report


def _dense_weights(graph: Graph) -> list[Node]:
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


def _restructured(graph: Graph, ranks: Mapping[Node, int]) -> Graph:
    """The graph with two matrix products for every one that reads a weight of `ranks`."""
    inputs = [list(_factors(i, ranks[i])) if i in ranks else [i] for i in graph.inputs]
    factors = {i: new for i, new in zip(graph.inputs, inputs, strict=True) if i in ranks}
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        weight = _weight_of(node)
        if weight not in factors:
            new[node] = remake(node, tuple(new[i] for i in node.inputs))
            continue
        with written_at(node.location, f"{node.origin or ''} rank {ranks[weight]}".strip()):
            thin, wide = (transpose(f) for f in factors[weight])
            new[node] = matmul(matmul(new[node.inputs[0]], thin), wide)
    flat = [i for group in inputs for i in group]
    donations = [(o, flat.index(inputs[source][0])) for o, source in graph.donations]
    return Graph(graph.name, flat, [new[o] for o in graph.outputs], donations)


def _weight_of(node: Node) -> Node | None:
    """W of matmul(x, transpose(W))."""
    if node.op.name != "matmul" or node.inputs[1].op.name != "transpose":
        return None
    return node.inputs[1].inputs[0]


def _factors(weight: Node, rank: int) -> Iterator[Node]:
    """The inputs that replace `weight` [u, v]: first [rank, v], then [u, rank]."""
    u, v = weight.tensor.shape
    dtype, name = weight.tensor.dtype, weight.attrs["name"]
    yield make_input(f"{name}.v", TensorType(dtype, (rank, v)), "parameter")
    yield make_input(f"{name}.u", TensorType(dtype, (u, rank)), "parameter")


def _matrix(weight: Node, values: Mapping[str, Any]) -> Array:
    """The value of a weight in f64. Raises GraphcError if it is absent, misshapen or not finite."""
    name = weight.attrs["name"]
    found = np.asarray(values[name], np.float64) if name in values else np.zeros(0)
    if found.shape != weight.tensor.concrete(1) or not np.isfinite(found).all():
        problem = "not finite" if found.shape == weight.tensor.concrete(1) else "not given"
        shape = f" (an array of shape {list(found.shape)})" if name in values else ""
        raise GraphcError(
            f"compress_dense: {name} of type {weight.tensor} is {problem}{shape}",
            remedy="give the trained parameters by name",
        )
    return found


def _kept(singular: Array) -> list[float]:
    """The kept energy for t = 0, 1, ...: 1 throughout for a matrix of zeros."""
    squares = np.concatenate([[0.0], np.cumsum(singular**2)])
    total = squares[-1]
    return [float(q / total) if total else 1.0 for q in squares]
