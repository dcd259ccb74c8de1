"""Compressing a trained model: lower ranks for its dense layers, and what that saves and costs.

The largest saving within an accuracy drop is found by search; ranks by other criteria are those of
`graphc.passes.compress`. The result is a model that trains on, so that it can be fine-tuned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.base.arguments import check_whole
from graphc.base.errors import GraphcError
from graphc.inspect.cost import graph_flops
from graphc.inspect.render import counted, scaled, table
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.passes.compress import (
    CompressDense,
    CompressedLayer,
    CompressedLayers,
    factored,
    low_rank,
)
from graphc.passes.dense_layers import dense_weights, named_weights
from graphc.passes.singular_values import Decomposition, break_even
from graphc.train.dataset import Dataset
from graphc.train.model import Model
from graphc.train.optim import Groups, Optimizer
from graphc.train.replay import Replay

if TYPE_CHECKING:
    from rich.console import Group

Array = np.ndarray[Any, Any]
Data = Dataset | tuple[Any, Any]
Score = Callable[[Model], float]
STEP = "compress"
MEASURED_SECONDS = 0.2
LEAST_RUNS = 3


@dataclass(frozen=True)
class Cost:
    """What a model costs to keep and to run, and how good it is.

    parameters: trained numbers; bytes: of them. flops: floating point operations for one sample.
    seconds: the least that one batch took. accuracy: on the validation data, or the score given
    in its place, if there is any.
    """

    parameters: int
    bytes: int
    flops: int
    seconds: float
    accuracy: float | None


@dataclass(frozen=True)
class CompressionReport:
    """A model before and after its dense layers were cut to lower ranks.

    layers: what became of each. batch: how many samples ``seconds`` is for. fine_tuned: the
    accuracy after fine-tuning, if there was any.
    """

    layers: tuple[CompressedLayer, ...]
    batch: int
    before: Cost
    after: Cost
    fine_tuned: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        return asdict(self)

    def __rich__(self) -> Group:
        from rich.console import Group

        costs = [
            (name, counted(cost.parameters), scaled(cost.bytes, "B"), scaled(cost.flops),
             f"{1000 * cost.seconds:.3g} ms", _percent(cost.accuracy))
            for name, cost in (("before", self.before), ("after", self.after))
        ]  # fmt: skip
        if self.fine_tuned is not None:
            costs.append(("fine-tuned", "", "", "", "", _percent(self.fine_tuned)))
        names = ("", "parameters", "bytes", "FLOPs", f"batch of {self.batch}", "accuracy")
        return Group(
            CompressedLayers(self.layers), table("the model", names, costs, numbers=names[1:])
        )


def compress(
    model: Model,
    validation: Data | Score | None = None,
    *,
    accuracy_drop: float | None = None,
    rank: int | None = None,
    energy: float | None = None,
    error: float | None = None,
    budget: int | None = None,
    layers: Sequence[str] | None = None,
    fine_tune: Callable[[Model], object] | None = None,
    optimizer: Optimizer | Groups | None = None,
    batch_size: int = 64,
) -> tuple[Model, CompressionReport]:
    """A model of lower ranks with the same loss, and a report; `model` stays as it is.

    validation: a data set, on which the accuracy counts, or a function of a model that returns a
    score in its place, such as the mean average precision of a detector.
    One criterion is given. accuracy_drop: the largest saving whose accuracy on `validation` is at
    most so much (0.01: one percentage point) below the model's: the kept energy of all layers
    together is lowered by binary search, and a layer of which no rank below its break-even keeps
    that energy stays whole. Accuracy falls with energy only by and large, so a smaller model than
    the one found may exist; what is returned is within the drop. rank, energy, error, budget: as
    for `compress_dense`; `validation` is then only for the report.

    layers: names of layers or weights; all dense ones by default. fine_tune: called with the new
    model, as ``lambda small: small.fit(train, epochs=2)``; the accuracy after it is in the report.
    optimizer: of the new model, by default the model's. batch_size: for the time in the report.

    Raises GraphcError for a rank that wins nothing, for a drop that no rank is within, and for a
    drop without validation data or with a loss that does not classify.
    """
    if not isinstance(model, Model):
        raise GraphcError(f"{STEP}: {model!r} is no model", remedy="give a gc.Model")
    given = {"rank": rank, "energy": energy, "error": error, "budget": budget}
    criteria = {name: value for name, value in given.items() if value is not None}
    if accuracy_drop is not None and criteria:
        raise GraphcError(
            f"{STEP}: accuracy_drop={accuracy_drop} beside {', '.join(criteria)}",
            remedy="give one of accuracy_drop, rank, energy, error, budget",
        )
    check_whole("batch_size", batch_size)
    source = _Source(model, layers, criteria)
    if optimizer is not None and source.training is None:
        raise GraphcError(
            f"{STEP}: an optimizer for a model that does not train",
            remedy="give the model an optimizer when it is built",
        )
    score = _score_from(validation)
    accuracy = None if score is None else score(model)
    if accuracy_drop is None:
        small = source.rebuilt(source.step.ranks(source.graph), optimizer)
    else:
        small = _smallest(source, score, accuracy, accuracy_drop, optimizer)
    seconds = _seconds((model, small.model), batch_size)
    after = None if score is None else score(small.model)
    tuned = None
    if fine_tune is not None:
        fine_tune(small.model)
        tuned = None if score is None else score(small.model)
    report = CompressionReport(
        small.layers,
        batch_size,
        _cost(model, seconds[0], accuracy),
        _cost(small.model, seconds[1], after),
        tuned,
    )
    return small.model, report


@dataclass(frozen=True)
class _Compressed:
    model: Model
    layers: tuple[CompressedLayer, ...]


class _Source:
    """The model to compress: its graphs, its values, and the layers that may be cut.

    step: chooses ranks by a criterion, if one is given, and keeps the decompositions.
    """

    def __init__(
        self, model: Model, layers: Sequence[str] | None, criteria: Mapping[str, Any]
    ) -> None:
        self.model = model
        self.graph = model.graphs["forward"]
        self.training = model.training_form
        self.values = dict(model.params)
        found = dense_weights(self.graph)
        if self.training is not None:  # a weight that training also reads otherwise stays whole
            trained = set(dense_weights(self.training.graph))
            found = [w for w in found if w in trained]
        self.weights = named_weights(found, "+".join(layers or ()), STEP, "dense")
        if not self.weights:
            raise GraphcError(
                f"{STEP}: graph {self.graph.name} has no dense layer",
                remedy="give a model with a layer matmul(x, transpose(weight))",
            )
        names = "+".join(w.attrs["name"] for w in self.weights)
        self.step = CompressDense(layer=names, values=self.values, **criteria)

    def matrix(self, weight: Node) -> Decomposition:
        """The decomposition of a weight."""
        return self.step.decomposition(weight, self.values)

    def copy(self) -> Model:
        """A model of the same network and values, to try weights on."""
        return self.model.with_network(Replay(self.graph, self.values, self.training))

    def rebuilt(
        self, ranks: Mapping[Node, int], optimizer: Optimizer | Groups | None
    ) -> _Compressed:
        """The model with these layers cut to these ranks."""
        matrices = {weight: self.matrix(weight) for weight in ranks}
        values, report = factored(ranks, matrices, self.values)
        names = {weight.attrs["name"]: rank for weight, rank in ranks.items()}

        def rewrite(graph: Graph) -> Graph:
            return low_rank(graph, names)

        training = None if self.training is None else self.training.rewritten(rewrite)
        network = Replay(rewrite(self.graph), values, training)
        whole = set(self.model.frozen)  # both factors of a frozen weight are frozen
        frozen = [name for name in values if {name, name.rpartition(".")[0]} & whole]
        model = self.model.with_network(network, optimizer=optimizer, frozen=frozen)
        return _Compressed(model, report.layers)


def _smallest(
    source: _Source,
    score: Score | None,
    accuracy: float | None,
    drop: float,
    optimizer: Optimizer | Groups | None,
) -> _Compressed:
    """The least common energy within the drop, by binary search over the energies that ranks keep.

    Tried are the very weights that a rank leaves, W_t in place of W in one copy of the model;
    nothing is compiled twice. What is found is built and tried again as it will run.
    """
    if score is None or accuracy is None or not 0.0 <= drop < 1.0:
        raise GraphcError(
            f"{STEP}: accuracy_drop={drop} " + ("without validation data" if score is None else ""),
            remedy="give a drop of at least 0 and below 1, and validation=(x, y)",
        )
    matrices = {weight: source.matrix(weight) for weight in source.weights}
    largest = {weight: break_even(*m.shape)[1] for weight, m in matrices.items()}
    levels = sorted({m.kept[t] for w, m in matrices.items() for t in range(1, largest[w] + 1)})
    trial = source.copy()

    def ranks_at(level: int) -> dict[Node, int]:
        ranks = {w: m.rank_for_energy(levels[level]) for w, m in matrices.items()}
        return {w: t for w, t in ranks.items() if t <= largest[w]}

    def accuracy_at(level: int) -> float:
        ranks = ranks_at(level)
        for weight, matrix in matrices.items():
            name = weight.attrs["name"]
            own = matrix.truncated(ranks[weight]) if weight in ranks else source.values[name]
            trial.params[name][...] = own
        return score(trial)

    least = accuracy - drop
    below, within = -1, len(levels)
    while within - below > 1:
        middle = (below + within) // 2
        if accuracy_at(middle) >= least:
            within = middle
        else:
            below = middle
    for level in range(within, len(levels)):
        small = source.rebuilt(ranks_at(level), optimizer)
        if score(small.model) >= least:
            return small
    raise GraphcError(
        f"{STEP}: no rank that saves weights keeps the accuracy within {drop} of {accuracy:.4f}",
        remedy="allow a larger drop, name other layers, or give a rank and fine-tune",
    )


def _score_from(validation: Data | Score | None) -> Score | None:
    """What says how good a model is: the user's function, or the accuracy on the user's data."""
    if validation is None or callable(validation):
        return validation
    return partial(_accuracy, data=Dataset.of(validation))


def _accuracy(model: Model, data: Dataset) -> float:
    found = model.evaluate(data.x, data.y)
    if "accuracy" not in found:
        raise GraphcError(
            f"{STEP}: the model's loss gives no accuracy",
            remedy='compress a model with a loss that classifies, as loss="cross_entropy", or '
            "leave the validation data out and give a rank",
        )
    return found["accuracy"]


def _cost(model: Model, seconds: float, accuracy: float | None) -> Cost:
    graph = model.graphs["forward"]
    held = [i.tensor for i in graph.inputs if i.attrs["kind"] == "parameter"]
    counts = sum(t.count() for t in held), sum(t.bytes() for t in held)
    return Cost(*counts, graph_flops(graph), seconds, accuracy)


def _seconds(models: Sequence[Model], batch_size: int) -> list[float]:
    """The least time that each takes to predict one batch, the models by turns.

    Times of the undisturbed machine: the first run, which compiles, does not count.
    """
    generator = np.random.default_rng(0)
    data = [i.tensor for i in models[0].graphs["forward"].inputs if i.attrs["kind"] == "data"]
    inputs = tuple(
        generator.standard_normal(t.concrete(batch_size)).astype(t.dtype.numpy)
        if t.dtype.is_float
        else np.zeros(t.concrete(batch_size), t.dtype.numpy)
        for t in data
    )
    times: list[list[float]] = [[] for _ in models]
    begin = time.perf_counter()
    while len(times[0]) <= LEAST_RUNS or time.perf_counter() - begin < MEASURED_SECONDS:
        for model, found in zip(models, times, strict=True):
            start = time.perf_counter()
            model.predict(inputs)
            found.append(time.perf_counter() - start)
    return [min(found[1:]) for found in times]


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"{100 * accuracy:.2f} %"
