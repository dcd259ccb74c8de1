"""Initialisers: their variances, their reach, and the defaults of PyTorch."""

from __future__ import annotations

import math
from itertools import pairwise

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
        (init.he_uniform(), 2 / FAN_IN),
        (init.orthogonal(), 1 / FAN_IN),
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


def test_ones_and_constants() -> None:
    assert (init.ones((2, 3), np.random.default_rng(0)) == 1).all()
    assert (init.constant(-0.5)((2, 3), np.random.default_rng(0)) == -0.5).all()


@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (7, 7), (8, 3, 2, 2)])
def test_orthogonal_weights_keep_lengths(shape: tuple[int, ...]) -> None:
    weight = init.orthogonal(gain=2.0)(shape, np.random.default_rng(0)).reshape(shape[0], -1)
    small = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
    np.testing.assert_allclose(small, 4.0 * np.eye(len(small)), atol=1e-5)


def test_orthogonal_matrices_are_uniform_in_sign() -> None:
    generator = np.random.default_rng(0)
    corners = [init.orthogonal()((3, 3), generator)[0, 0] for _ in range(400)]
    assert abs(np.sign(corners).mean()) < 0.15


def test_an_encoder_becomes_the_first_layer_and_stays_what_it_was() -> None:
    encoder = gc.Model(nn.Sequential(nn.Dense(3)), "f32[N,4]", backend="numpy", seed=1)
    before = encoder.params["0.weight"].copy()
    first = nn.Dense(3, weight_initializer=init.from_array(encoder.params["0.weight"]))
    encoder.params["0.weight"][...] = 0
    model = gc.Model(nn.Sequential(first, nn.Dense(2)), "f32[N,4]", backend="numpy")
    np.testing.assert_array_equal(model.params["0.weight"], before)


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
        lambda: init.constant(float("inf")),
        lambda: init.orthogonal(-1.0),
        lambda: init.orthogonal()((3,), np.random.default_rng(0)),
        lambda: init.from_array(["a"]),
        lambda: init.from_array([float("nan")]),
    ],
)
def test_bad_arguments(construct) -> None:
    with pytest.raises(gc.GraphcError):
        construct()


# -- what the first weights do to a deep network ---------------------------------------------------

LAYERS, UNITS = 10, 500


def _activations(activation, initializer) -> list[np.ndarray]:
    """What each of ten layers of 500 units makes of inputs from N(0, 1)."""
    layers = [nn.Dense(UNITS, bias=False, weight_initializer=initializer) for _ in range(LAYERS)]

    class Deep(nn.Module):
        def __init__(self) -> None:
            self.layers = layers

        def __call__(self, x):
            outputs = []
            for layer in self.layers:
                x = activation(layer(x))
                outputs.append(x)
            return tuple(outputs)

    model = gc.Model(Deep(), f"f32[N,{UNITS}]", backend="numpy")
    return list(model.predict(np.random.default_rng(0).standard_normal((200, UNITS), np.float32)))


def test_small_weights_make_tanh_layers_collapse() -> None:
    """Near 0 tanh is the identity, so each layer scales by sigma sqrt(500) = 0.224."""
    last = _activations(nn.tanh, init.normal(0.01))[-1]
    assert last.std() == pytest.approx((0.01 * math.sqrt(UNITS)) ** LAYERS, rel=0.15)


def test_large_weights_make_tanh_layers_saturate() -> None:
    """The pre-activations have a deviation near sqrt(500) = 22, so hardly a unit has a slope."""
    for layer in _activations(nn.tanh, init.normal(1.0)):
        assert (np.abs(layer) > 0.99).mean() > 0.85


@pytest.mark.parametrize("initializer", [init.xavier_normal(), init.xavier_uniform("in")])
def test_xavier_keeps_the_scale_of_tanh_layers(initializer) -> None:
    deviations = [layer.std() for layer in _activations(nn.tanh, initializer)]
    assert deviations[0] == pytest.approx(0.63, abs=0.02)
    assert deviations[-1] > 0.2
    assert all(after < before for before, after in pairwise(deviations))


def test_relu_needs_he() -> None:
    """ReLU halves the second moment; He's factor of 2 makes that good, Xavier's 1 does not.

    The same seed draws the same weights but for their scale.
    """
    last = [_activations(nn.relu, drawn)[-1] for drawn in (init.he_normal(), init.xavier_normal())]
    he, xavier = ((layer.astype(np.float64) ** 2).mean() for layer in last)
    assert 1 / 3 < he < 3
    assert xavier == pytest.approx(he * 2.0**-LAYERS, rel=1e-4)
