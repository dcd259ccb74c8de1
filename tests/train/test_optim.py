"""Optimisers: their formulas, schedules, what they keep, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim

X = np.array([[1.0, 2.0]], np.float64)
TARGET = np.array([[0.5]], np.float64)
START = np.array([[0.3, -0.2]], np.float64)


def trained(optimizer: optim.Optimizer, steps: int, backend: str) -> list[np.ndarray]:
    """The weight after each step on one sample: y = w x, loss (y - target)^2."""
    model = gc.Model(nn.Dense(1, bias=False), "f64[N,2]", "mse", optimizer, backend)
    model.load_params({"weight": START})
    found = []
    for _ in range(steps):
        model.step(X, TARGET)
        found.append(model.params["weight"].copy())
    return found


def gradient(w: np.ndarray) -> np.ndarray:
    return 2 * (X @ w.T - TARGET) * X


def test_sgd(backend: str) -> None:
    w = START
    for found in trained(optim.SGD(0.05, weight_decay=0.1), 3, backend):
        w = w - 0.05 * (gradient(w) + 0.1 * w)
        np.testing.assert_allclose(found, w, rtol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum(nesterov: bool, backend: str) -> None:
    w, v = START, np.zeros_like(START)
    optimizer = optim.SGD(0.02, momentum=0.9, nesterov=nesterov, weight_decay=0.1)
    for found in trained(optimizer, 4, backend):
        g = gradient(w) + 0.1 * w
        v = 0.9 * v + g
        w = w - 0.02 * (g + 0.9 * v if nesterov else v)
        np.testing.assert_allclose(found, w, rtol=1e-12)


def test_adam(backend: str) -> None:
    w, first, second = START, np.zeros_like(START), np.zeros_like(START)
    optimizer = optim.Adam(0.01, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.1)
    for step, found in enumerate(trained(optimizer, 4, backend), 1):
        g = gradient(w) + 0.1 * w
        first = 0.8 * first + 0.2 * g
        second = 0.9 * second + 0.1 * g * g
        unbiased = first / (1 - 0.8**step), second / (1 - 0.9**step)
        w = w - 0.01 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-6)
        np.testing.assert_allclose(found, w, rtol=1e-9)


def test_a_schedule_is_asked_at_each_step_and_never_recompiles(backend: str) -> None:
    asked = []

    def halving(step: int) -> float:
        asked.append(step)
        return 0.1 / 2**step

    w = START
    for k, found in enumerate(trained(optim.SGD(halving), 3, backend)):
        w = w - 0.1 / 2**k * gradient(w)
        np.testing.assert_allclose(found, w, rtol=1e-12)
    assert asked == [0, 1, 2]


def test_a_schedule_that_goes_wrong_is_an_error_before_the_step() -> None:
    with pytest.raises(gc.GraphcError, match="the learning rate at step 0 is nan"):
        trained(optim.SGD(lambda step: float("nan")), 1, "numpy")


def test_sgd_without_momentum_keeps_nothing() -> None:
    def states(optimizer: optim.Optimizer) -> list[str]:
        model = gc.Model(nn.Dense(1), "f32[N,2]", "mse", optimizer, "numpy")
        inputs = model.graphs["train"].inputs
        return [i.attrs["name"] for i in inputs if i.attrs["kind"] == "state"]

    assert states(optim.SGD(0.1)) == []
    assert states(optim.SGD(0.1, momentum=0.9)) == ["weight.velocity", "bias.velocity"]
    assert states(optim.Adam())[:3] == [
        "optimizer.step",
        "weight.first_moment",
        "weight.second_moment",
    ]


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: optim.SGD(-0.1), "SGD: lr is -0.1"),
        (lambda: optim.SGD(float("nan")), "SGD: lr is nan"),
        (lambda: optim.SGD("0.1"), "SGD: lr is '0.1'"),
        (lambda: optim.SGD(0.1, momentum=1.0), "SGD: momentum is 1.0"),
        (lambda: optim.SGD(0.1, weight_decay=-1), "SGD: weight_decay is -1"),
        (lambda: optim.SGD(0.1, nesterov=True), "nesterov without momentum"),
        (lambda: optim.SGD(0.1, momentum=0.9, nesterov=1), "SGD: nesterov 1"),
        (lambda: optim.Adam(float("inf")), "Adam: lr is inf"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), "Adam: beta is 1.0"),
        (lambda: optim.Adam(betas=0.9), "Adam: betas 0.9"),
        (lambda: optim.Adam(eps=-1.0), "Adam: eps is -1.0"),
    ],
)
def test_bad_arguments(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy
