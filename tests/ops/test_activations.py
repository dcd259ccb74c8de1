"""Activations: published values, what happens far out and near 0, and slopes at kinks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import graphc as gc
from graphc import nn

INF = math.inf
DEFAULTS = {"elu": nn.elu, "gelu": nn.gelu, "silu": nn.silu, "scaled_tanh": nn.scaled_tanh}


def curve(function, x, backend: str, dtype: str = "f32") -> np.ndarray:
    numbers = np.asarray(x, {"f32": np.float32, "f64": np.float64}[dtype])
    return gc.compile(gc.trace(function, f"{dtype}[{len(numbers)}]"), backend)(numbers)


def slopes(function, x, backend: str) -> np.ndarray:
    graph = gc.trace(lambda x: function(x).sum(), f"f64[{len(x)}]")
    return gc.compile(gc.grad(graph, wrt=["x"]), backend)(np.asarray(x, np.float64))


def test_erf_is_that_of_the_tables(backend: str) -> None:
    """Abramowitz and Stegun, Handbook of mathematical functions, table 7.1."""
    x = [0.1, 0.5, 1.0, 1.5, 2.0]
    table = [0.1124629160, 0.5204998778, 0.8427007929, 0.9661051465, 0.9953222650]
    np.testing.assert_allclose(curve(nn.erf, x, backend, "f64"), table, atol=5e-11)
    np.testing.assert_allclose(curve(nn.erf, x, backend), table, atol=1e-7)


def test_gelu_is_x_times_the_normal_distribution(backend: str) -> None:
    """The share of a standard normal below 1, 1.96 and 3 is 0.841345, 0.975002 and 0.998650."""
    x = np.array([1.0, 1.96, 3.0])
    np.testing.assert_allclose(
        curve(nn.gelu, x, backend, "f64") / x, [0.841345, 0.975002, 0.998650], atol=5e-7
    )


def test_gelu_by_tanh_is_at_most_5e_4_away(backend: str) -> None:
    x = np.linspace(-8, 8, 4001)
    exact = curve(nn.gelu, x, backend, "f64")
    near = curve(lambda x: nn.gelu(x, approximate="tanh"), x, backend, "f64")
    assert 1e-4 < np.abs(near - exact).max() < 5e-4


def test_scaled_tanh_sends_targets_to_themselves(backend: str) -> None:
    """LeCun chose the constants so that f(1) = 1 and f(-1) = -1."""
    np.testing.assert_allclose(curve(nn.scaled_tanh, [-1, 1], backend), [-1, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("elu", -1.0, INF), ("scaled_tanh", -1.7159, 1.7159)],
)
def test_limits_at_infinity(name: str, low: float, high: float, backend: str) -> None:
    got = curve(DEFAULTS[name], [-INF, INF, math.nan], backend)
    np.testing.assert_allclose(got, [low, high, math.nan], rtol=1e-6)


@pytest.mark.parametrize("name", DEFAULTS)
def test_values_and_slopes_stay_finite_far_out(name: str, backend: str) -> None:
    x = [-1e4, -800.0, -100.0, 100.0, 800.0, 1e4]
    assert np.isfinite(curve(DEFAULTS[name], x, backend)).all()
    assert np.isfinite(slopes(DEFAULTS[name], x, backend)).all()


def test_elu_keeps_the_digits_of_small_numbers(backend: str) -> None:
    x = -np.logspace(-20, 0, 50)
    np.testing.assert_allclose(curve(nn.elu, x, backend), np.expm1(x), rtol=1e-6)
    np.testing.assert_allclose(curve(nn.elu, x, backend, "f64"), np.expm1(x), rtol=1e-14)


def test_the_slope_of_relu_at_0_is_0_and_that_of_elu_is_alpha(backend: str) -> None:
    assert slopes(nn.relu, [0.0], backend) == [0.0]
    assert slopes(lambda x: nn.elu(x, alpha=0.3), [0.0], backend) == [0.3]


def test_gelu_knows_two_forms() -> None:
    with pytest.raises(gc.GraphcError, match="approximate 'sigmoid'"):
        gc.trace(lambda x: nn.gelu(x, approximate="sigmoid"), "f32[4]")
