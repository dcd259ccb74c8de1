"""Ensembles: the average that is asked for, preprocessing by column, bagging that repeats."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).astype(np.int64) + (X[:, 2] > 1)


def model(seed: int, net: nn.Module | None = None, **keywords) -> gc.Model:
    arguments = {"loss": "cross_entropy", "optimizer": optim.SGD(0.1), "backend": "numpy"}
    return gc.Model(net or nn.Dense(3), "f32[N,4]", seed=seed, **(arguments | keywords))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits.astype(np.float64)).sum(axis=1, keepdims=True))


def test_probabilities_are_averaged_not_logits() -> None:
    columns = [model(seed) for seed in range(3)]
    ensemble = gc.Ensemble(columns)
    single = [np.exp(log_softmax(column.predict(X))) for column in columns]
    np.testing.assert_allclose(ensemble.outputs(X), single, rtol=1e-12)
    mean = np.mean(single, axis=0)
    np.testing.assert_allclose(ensemble.predict(X), mean, rtol=1e-12)
    found = ensemble.evaluate(X, Y)
    assert found["accuracy"] == (mean.argmax(1) == Y).mean()
    assert found["loss"] == pytest.approx(-np.log(mean[np.arange(30), Y]).mean(), rel=1e-12)
    assert ensemble.evaluate(X, np.eye(3)[Y]) == pytest.approx(found, rel=1e-12)


def test_an_ensemble_of_one_is_the_model() -> None:
    alone = model(4)
    found = gc.Ensemble([alone]).evaluate(X, Y)
    assert found == pytest.approx(alone.evaluate(X, Y), rel=1e-6)
    np.testing.assert_array_equal(
        gc.Ensemble([alone], average="outputs").predict(X), alone.predict(X)
    )


def test_the_error_of_a_mean_is_the_mean_error_minus_the_spread() -> None:
    """Krogh and Vedelsby, 1995: for squared errors, exactly."""
    columns = [model(seed, loss="mse") for seed in range(4)]
    ensemble = gc.Ensemble(columns, average="outputs")
    targets = RNG.standard_normal((30, 3))
    outputs, mean = ensemble.outputs(X), ensemble.predict(X)
    errors = np.mean([c.evaluate(X, targets)["loss"] for c in columns])
    spread = ((outputs - mean) ** 2).mean()
    assert ensemble.evaluate(X, targets)["loss"] == pytest.approx(errors - spread, rel=1e-5)
    assert set(ensemble.evaluate(X, Y)) == {"accuracy"}


def test_each_column_sees_its_own_preprocessing() -> None:
    column = model(0)
    ensemble = gc.Ensemble([column, column], [None, lambda x: x[:, ::-1]], average="outputs")
    found = ensemble.outputs(X)
    np.testing.assert_array_equal(found[0], column.predict(X))
    np.testing.assert_array_equal(found[1], column.predict(X[:, ::-1].copy()))


def test_bagging_repeats_from_its_seed_and_its_columns_differ() -> None:
    def bagged(seed: int, **keywords) -> gc.Ensemble:
        return gc.Ensemble.bagged(
            model, (X, Y), 3, seed, epochs=2, batch_size=8, progress=None, **keywords
        )

    first, again, other = bagged(1), bagged(1), bagged(2)
    assert len(first) == 3
    np.testing.assert_array_equal(first.outputs(X), again.outputs(X))
    assert (first.outputs(X) != other.outputs(X)).any()
    weights = [column.params["weight"] for column in first.columns]
    assert (weights[0] != weights[1]).any() and (weights[1] != weights[2]).any()
    # Without resampling a column is what fit makes of all the data from the column's seed.
    plain = bagged(1, resample=False).columns[0]
    same = model(plain.seed)
    same.fit((X, Y), epochs=2, batch_size=8, progress=None)
    np.testing.assert_array_equal(plain.params["weight"], same.params["weight"])
    assert (first.columns[0].params["weight"] != same.params["weight"]).any()


class Heads(nn.Module):
    def __init__(self):
        self.a, self.b = nn.Dense(2), nn.Dense(1)

    def __call__(self, x):
        return self.a(x), self.b(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gc.Ensemble([]), "an ensemble of 0 models"),
        (lambda: gc.Ensemble.bagged(model, (X, Y), 0), "an ensemble of 0 models"),
        (lambda: gc.Ensemble([model(0)], [None, None]), "preprocessing for 2"),
        (lambda: gc.Ensemble([model(0)], average="votes"), "average of 'votes'"),
        (lambda: gc.Ensemble([model(0)]).evaluate(X, Y + 0.5), "for outputs [30, 3]"),
        (lambda: gc.Ensemble([model(0)]).evaluate(X, Y + 3), "is not one of the 3 classes"),
        (lambda: gc.Ensemble([model(0)]).evaluate(X, Y - 9), "is not one of the 3 classes"),
        (lambda: gc.Ensemble([model(0), model(0, nn.Dense(4))]).predict(X), "have no average"),
        (
            lambda: gc.Ensemble([gc.Model(Heads(), "f32[N,4]", backend="numpy")]).predict(X),
            "a model with 2 outputs",
        ),
        (
            lambda: gc.Ensemble(
                [gc.Model(lambda x: x.sum((1,)), "f32[N,4]", backend="numpy")]
            ).predict(X),
            "are no logits",
        ),
    ],
)
def test_what_does_not_fit(call, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert message in caught.value.what
    assert caught.value.remedy
