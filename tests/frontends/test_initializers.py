"""Initialisers: their variances, their reach, and the defaults of PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphc as gc
from graphc import nn, zoo

init = nn.initializers
SHAPE = (300, 20, 5, 4)
FAN_IN, FAN_OUT = 20 * 5 * 4, 300 * 5 * 4


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (init.zeros, 0.0),
        (init.normal(0.3), 0.09),
        (init.uniform(0.3), 0.03),
        (init.xavier_uniform(), 2 / (FAN_IN + FAN_OUT)),
        (init.xavier_uniform("in"), 1 / FAN_IN),
        (init.xavier_normal(), 2 / (FAN_IN + FAN_OUT)),
        (init.xavier_normal("in"), 1 / FAN_IN),
        (init.he_normal(), 2 / FAN_IN),
        (init.torch_weight(), 1 / (3 * FAN_IN)),
    ],
    ids=str,
)
def test_mean_and_variance(initializer, variance: float) -> None:
    drawn = initializer(SHAPE, np.random.default_rng(0))
    assert drawn.shape == SHAPE
    assert abs(drawn.mean()) <= 4 * math.sqrt(variance / drawn.size)
    assert drawn.var() == pytest.approx(variance, rel=0.02)


def test_uniform_forms_stay_within_their_limit() -> None:
    drawn = init.torch_weight()(SHAPE, np.random.default_rng(0))
    assert np.abs(drawn).max() <= 1 / math.sqrt(FAN_IN)
    assert np.abs(drawn).max() > 0.99 / math.sqrt(FAN_IN)


def test_ones() -> None:
    assert (init.ones((2, 3), np.random.default_rng(0)) == 1).all()


def test_the_default_is_pytorchs_for_weights_and_biases() -> None:
    model = gc.Model(zoo.lenet5(), "f32[N,1,32,32]", backend="numpy")
    fans = {"0": 25, "3": 150, "7": 400, "9": 120, "11": 84}
    for layer, fan_in in fans.items():
        for kind in ("weight", "bias"):
            values = model.params[f"{layer}.{kind}"]
            assert 0.5 < np.abs(values).max() * math.sqrt(fan_in) <= 1


def test_layers_take_initialisers_and_seeds_decide() -> None:
    net = nn.Sequential(
        nn.Dense(50, weight_initializer=init.normal(2.0), bias_initializer=init.ones)
    )
    models = [gc.Model(net, "f32[N,40]", backend="numpy", seed=seed) for seed in (0, 0, 1)]
    first, again, other = (m.params["0.weight"] for m in models)
    assert first.std() == pytest.approx(2.0, rel=0.1)
    assert (models[0].params["0.bias"] == 1).all()
    assert (first == again).all()
    assert (first != other).any()


def test_an_initialiser_of_the_wrong_shape_is_named() -> None:
    net = nn.Sequential(nn.Dense(3, weight_initializer=lambda shape, generator: np.zeros(2)))
    with pytest.raises(gc.GraphcError, match=r"initialiser of '0\.weight' returned shape"):
        gc.Model(net, "f32[N,4]", backend="numpy")


@pytest.mark.parametrize(
    "construct",
    [
        lambda: init.normal(-1.0),
        lambda: init.uniform(float("nan")),
        lambda: init.xavier_uniform("both"),
        lambda: init.he_normal()((3,), np.random.default_rng(0)),
    ],
)
def test_bad_arguments(construct) -> None:
    with pytest.raises(gc.GraphcError):
        construct()
