"""Searching for hyper-parameters: spaces, what each search tries, and how near it comes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, search

SPACE = {
    "lr": search.LogUniform(1e-4, 1.0),
    "momentum": search.Uniform(0.0, 0.9),
    "width": search.Integer(3, 7),
    "activation": ["relu", "tanh", "sigmoid"],
}
SEARCHES = {
    "random": search.random,
    "bayesian": search.bayesian,
    "tpe": search.tpe,
}


def branin(x: float, y: float) -> float:
    """Its least value is 0.397887, at (-pi, 12.275), (pi, 2.275) and (9.42478, 2.475)."""
    curved = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return curved**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


BRANIN = {"x": search.Uniform(-5, 10), "y": search.Uniform(0, 15)}


# -- spaces ----------------------------------------------------------------------------------------


def test_numbers_stand_for_values_and_back() -> None:
    space = search.Space.of(SPACE)
    rng = np.random.default_rng(0)
    seen = [space.decoded(rng.random(space.size)) for _ in range(2000)]
    for point in seen[:50]:
        assert space.decoded(space.encoded(point)) == pytest.approx(point)
    units = rng.random((50, space.size))
    exact = [space.encoded(space.decoded(row)) for row in units]
    np.testing.assert_allclose(space.snapped(units), exact, atol=1e-12)
    assert {p["width"] for p in seen} == {3, 4, 5, 6, 7}
    shares = [np.mean([p["activation"] == a for p in seen]) for a in SPACE["activation"]]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)
    assert 0.45 < np.mean([p["lr"] < 1e-2 for p in seen]) < 0.55
    assert 0 <= min(p["momentum"] for p in seen) < max(p["momentum"] for p in seen) <= 0.9


def test_the_ends_of_a_range() -> None:
    assert search.Integer(1, 3).decoded(np.array([1.0])) == 3
    assert search.Integer(1, 3).decoded(np.array([0.0])) == 1
    assert search.LogUniform(1e-3, 1e-1).decoded(np.array([0.5])) == pytest.approx(1e-2)


# -- searches --------------------------------------------------------------------------------------


def test_a_grid_is_every_combination() -> None:
    space = {"a": search.Uniform(0, 1), "b": ["x", "y"], "c": search.Integer(1, 2)}
    result = search.grid(lambda a, b, c: a + c, space, points=3)
    tried = [(t.values["a"], t.values["b"], t.values["c"]) for t in result.trials]
    assert tried == [(a, b, c) for a in (0, 0.5, 1) for b in "xy" for c in (1, 2)]
    assert result.best == search.Trial({"a": 0.0, "b": "x", "c": 1}, 1.0)
    rates = search.grid(lambda lr: lr, {"lr": search.LogUniform(1e-3, 1e-1)}, points=3)
    assert [t.score for t in rates.trials] == pytest.approx([1e-3, 1e-2, 1e-1])


@pytest.mark.parametrize("name", SEARCHES)
def test_the_seed_decides_what_is_tried(name: str) -> None:
    def objective(lr: float, momentum: float, width: int, activation: str) -> float:
        return abs(math.log(lr) + 3) + momentum + width + (activation != "tanh")

    told: list[search.Trial] = []
    results = [
        SEARCHES[name](objective, SPACE, trials=16, seed=seed, report=report)
        for seed, report in ((3, told.append), (3, None), (4, None))
    ]
    assert results[0] == results[1] != results[2]
    assert told == results[0].trials and len(told) == 16


def mean_of_best(name: str, objective, space, trials: int) -> float:
    found = [SEARCHES[name](objective, space, trials=trials, seed=seed) for seed in range(5)]
    return float(np.mean([result.best.score for result in found]))


def test_a_gaussian_process_finds_the_valley_that_chance_does_not() -> None:
    assert mean_of_best("bayesian", branin, BRANIN, 30) < 0.6
    assert mean_of_best("random", branin, BRANIN, 30) > 1.0


def test_tpe_comes_nearer_than_chance() -> None:
    def objective(x: float, y: float, kind: str) -> float:
        return branin(x, y) + 3 * (kind != "right")

    space = BRANIN | {"kind": ["wrong", "right", "false", "bad"]}
    assert mean_of_best("tpe", objective, space, 60) < 1.2
    assert mean_of_best("random", objective, space, 60) > 1.8


def test_values_that_are_not_finite_are_the_worst(recwarn) -> None:
    for find in SEARCHES.values():
        result = find(
            lambda x: math.nan if x < 0.5 else x, {"x": search.Uniform(0, 1)}, trials=25, seed=1
        )
        assert 0.5 <= result.best.score < 0.55
        late = [trial.score for trial in result.trials[10:]]
        assert np.isfinite(late).mean() > 0.3, "it does not go where they are"
    with pytest.raises(gc.GraphcError, match="none of 3 trials has a finite score"):
        _ = search.random(lambda x: math.inf, {"x": [1, 2]}, trials=3).best
    assert not recwarn.list


def test_an_objective_that_never_changes() -> None:
    for find in SEARCHES.values():
        assert find(lambda x: 1.0, {"x": search.Uniform(0, 1)}, trials=14).best.score == 1.0


# -- the process -----------------------------------------------------------------------------------


def test_the_process_is_the_conditional_normal_distribution() -> None:
    rng = np.random.default_rng(0)
    x, points, y = rng.random((6, 2)), rng.random((4, 2)), rng.standard_normal(6)
    length, noise = 0.4, 0.05

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        r = math.sqrt(5) * np.linalg.norm(a - b) / length
        return (1 + r + r * r / 3) * math.exp(-r)

    seen = np.array([[kernel(a, b) for b in x] for a in x]) + noise * np.eye(6)
    across = np.array([[kernel(a, b) for b in x] for a in points])
    process = search.GaussianProcess(x, y, length, noise)
    mean, deviation = process.predicted(points)
    np.testing.assert_allclose(mean, across @ np.linalg.inv(seen) @ y, rtol=1e-9)
    covariance = np.eye(4) - across @ np.linalg.inv(seen) @ across.T
    np.testing.assert_allclose(deviation**2, np.diag(covariance), rtol=1e-9)
    density = math.exp(-0.5 * y @ np.linalg.inv(seen) @ y) / math.sqrt(
        (2 * math.pi) ** 6 * np.linalg.det(seen)
    )
    assert process.log_likelihood() == pytest.approx(math.log(density))


def test_the_length_is_found_from_samples_of_the_process() -> None:
    x = np.linspace(0, 1, 60)[:, None]
    rng = np.random.default_rng(1)
    for length in (0.1, 0.5):
        prior = search.GaussianProcess(x, np.zeros(60), length, 1e-6)._lower()
        found = search.GaussianProcess.fitted(x, prior @ rng.standard_normal(60))
        assert 0.6 * length < found.length < 1.7 * length
        assert found.noise <= 1e-4


def test_expected_improvement_is_the_mean_of_what_falls_below() -> None:
    draws = np.random.default_rng(0).standard_normal(400_000)
    for mean, deviation, best in ((0.0, 1.0, 0.3), (2.0, 0.5, 1.5), (-1.0, 0.2, 0.0)):
        sampled = np.maximum(best - (mean + deviation * draws), 0).mean()
        found = search.expected_improvement(np.array([mean]), np.array([deviation]), best)
        assert found[0] == pytest.approx(sampled, rel=0.02)
    certain = search.expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0)
    assert certain.tolist() == [1.0, 0.0]


# -- a network -------------------------------------------------------------------------------------


def test_a_learning_rate_for_a_network() -> None:
    x = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32)

    def loss(lr: float) -> float:
        model = gc.Model(nn.Dense(1), "f32[N,3]", "mse", optim.SGD(lr), backend="numpy")
        for _ in range(10):
            last = model.step(x, y)
        return last

    result = search.bayesian(loss, {"lr": search.LogUniform(1e-4, 0.5)}, trials=10, seed=0)
    assert result.best.score < 1e-3 < max(t.score for t in result.trials)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: search.Uniform(1, 1), "Uniform(1, 1)"),
        (lambda: search.Uniform(0, math.inf), "Uniform(0, inf)"),
        (lambda: search.LogUniform(0.0, 1.0), "LogUniform(0.0, 1.0)"),
        (lambda: search.Integer(1, 2.5), "Integer(1, 2.5)"),
        (lambda: search.Choice(), "a Choice of nothing"),
        (lambda: search.random(abs, {}, trials=3), "{} is no space"),
        (lambda: search.random(abs, {"x": 3}, trials=3), "x: 3 says no values"),
        (lambda: search.random(abs, {"x": [1]}, trials=0), "trials is 0"),
        (lambda: search.bayesian(abs, {"x": [1]}, trials=2.5), "trials is 2.5"),
        (lambda: search.tpe(abs, {"x": [1]}, trials=5, start=0), "start is 0"),
        (lambda: search.grid(abs, {"x": [1]}, points=0), "points is 0"),
        (lambda: search.random(lambda x: None, {"x": [1]}, trials=1), "objective returned None"),
    ],
)  # fmt: skip
def test_bad_arguments(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.location is not None and caught.value.location.file == __file__
    assert caught.value.remedy
