"""Several models that decide together: the mean of their outputs.

Columns with preprocessing of their own: Ciresan et al., "Multi-column deep neural networks for
image classification", 2012. Bagging: Breiman, "Bagging predictors", 1996. Knows models, no layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers
from graphc.base.errors import GraphcError
from graphc.train.dataset import Dataset
from graphc.train.metrics.classification import accuracy, check_classes
from graphc.train.model import Model

Array = np.ndarray[Any, Any]
Preprocessing = Callable[[Any], Any]
AVERAGES = ("probabilities", "outputs")
SMALLEST = float(np.finfo(np.float64).tiny)


class Ensemble:
    """The average of trained models with one output each.

    columns: the models. preprocessing: for each a function of the input x (None leaves it as it
    is), None if no column has one. average: "probabilities", the softmax of logits [n,classes], or
    "outputs", as they are. Raises GraphcError for no model, other lengths and other words.
    """

    def __init__(
        self,
        columns: Sequence[Model],
        preprocessing: Sequence[Preprocessing | None] | None = None,
        *,
        average: str = "probabilities",
    ) -> None:
        self.columns = list(columns) if isinstance(columns, Iterable) else [columns]
        self.preprocessing = list(preprocessing or [None] * len(self.columns))
        self.average = average
        stranger = next((c for c in self.columns if not isinstance(c, Model)), None)
        if stranger is not None:
            raise GraphcError(f"{stranger!r} is no model", remedy="give a list of gc.Model")
        if not self.columns or len(self.preprocessing) != len(self.columns):
            raise GraphcError(
                f"an ensemble of {len(self.columns)} models with preprocessing for "
                f"{len(self.preprocessing)}",
                remedy="give at least one model, and as many functions or None",
            )
        if average not in AVERAGES:
            raise GraphcError(f"the average of {average!r}", remedy=f"use one of {AVERAGES}")

    @staticmethod
    def bagged(
        build: Callable[[int], Model],
        train: Dataset | tuple[Any, Any],
        count: int,
        seed: int = 0,
        *,
        resample: bool = True,
        average: str = "probabilities",
        **options: Any,
    ) -> Ensemble:
        """`count` models, each from another seed and trained on a bootstrap sample of its own.

        build: a model for a seed. resample: draw as many samples as there are, with repetition;
        otherwise the models differ by their seeds alone. options: of `Model.fit`. Equal seeds give
        equal ensembles. Raises GraphcError if `count` is not above 0.
        """
        data = Dataset.of(train)
        columns = []
        for number in range(count):
            generator = np.random.default_rng((seed, number))
            model = build(int(generator.integers(2**31)))
            chosen = generator.integers(0, len(data), len(data))
            model.fit(Dataset(*data.take(chosen)) if resample else data, **options)
            columns.append(model)
        return Ensemble(columns, average=average)

    def outputs(self, x: Any) -> Array:
        """f64[columns,n,...]: what each column says, as probabilities if those are averaged.

        Raises GraphcError for a model of several outputs, and for probabilities of outputs that are
        not [n,classes].
        """
        found = []
        for column, prepare in zip(self.columns, self.preprocessing, strict=True):
            output = column.predict(x if prepare is None else prepare(x))
            if isinstance(output, tuple):
                raise GraphcError(
                    f"a model with {len(output)} outputs in an ensemble",
                    remedy="give models of one output",
                )
            found.append(self._averaged(np.asarray(output, np.float64)))
        if len({output.shape for output in found}) != 1:
            raise GraphcError(
                f"outputs of shapes {[list(output.shape) for output in found]} have no average",
                remedy="give models whose outputs have one shape",
            )
        return np.stack(found)

    def predict(self, x: Any) -> Array:
        """f64[n,...]: the mean over the columns."""
        return np.asarray(self.outputs(x).mean(axis=0))

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """How good `predict` is.

        For class numbers y [n]: "accuracy", and if probabilities are averaged "loss", the mean of
        -log probability of the class. For y of the output's shape: "loss", the cross entropy of the
        probabilities or the mean squared error, and for probabilities "accuracy". Raises
        GraphcError for other targets.
        """
        mean, targets = self.predict(x), as_numbers("the targets", y)
        probabilities = self.average == "probabilities"
        if targets.ndim == 1 and mean.ndim == 2 and targets.dtype.kind in "iu":
            check_classes(targets, mean.shape[1])
            found = {"accuracy": accuracy(mean, targets)}
            if probabilities:
                chosen = mean[np.arange(len(mean)), targets]
                found["loss"] = float(-np.log(np.maximum(chosen, SMALLEST)).mean())
            return found
        if targets.shape != mean.shape:
            raise GraphcError(
                f"targets {targets.dtype}{list(targets.shape)} for outputs {list(mean.shape)}",
                remedy="give class numbers [n], or targets of the output's shape",
            )
        if probabilities:
            loss = -(targets * np.log(np.maximum(mean, SMALLEST))).sum(axis=1).mean()
            return {"loss": float(loss), "accuracy": accuracy(mean, targets)}
        return {"loss": float(((mean - targets) ** 2).mean())}

    def __len__(self) -> int:
        return len(self.columns)

    def _averaged(self, output: Array) -> Array:
        if self.average == "outputs":
            return output
        if output.ndim != 2:
            raise GraphcError(
                f"outputs of shape {list(output.shape)} are no logits [n,classes]",
                remedy='give average="outputs"',
            )
        shifted = np.exp(output - output.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
