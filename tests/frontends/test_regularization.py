"""Dropout at the edges of its rate, and penalties: what they add, when, and to whose gradient."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim

X = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((6, 3)).astype(np.float32)


def model(net, backend: str = "numpy", **options) -> gc.Model:
    return gc.Model(
        net, "f32[N,5]", loss="mse", optimizer=optim.SGD(0.5), backend=backend, **options
    )


def with_penalty(net, backend: str = "numpy") -> tuple[float, float, gc.Model]:
    """(loss of a training step, loss of evaluating before it, the model)."""
    made = model(net, backend)
    plain = made.evaluate(X, Y)["loss"]
    return made.step(X, Y), plain, made


# -- dropout ---------------------------------------------------------------------------------------


def test_rate_0_is_the_identity_in_training() -> None:
    graph = gc.trace(nn.Dropout(0.0), "f32[N,4]", training=True)
    assert graph.outputs[0] is graph.inputs[0]


def test_a_rate_close_to_1_keeps_few_and_the_mean(backend: str) -> None:
    ones = np.ones((64, 4096), np.float32)
    graph = gc.trace(nn.Dropout(0.999), "f32[N,4096]", training=True)
    got = gc.compile(graph, backend)(ones, random_key=np.int32(3))
    kept = got[got != 0]
    assert kept.size == pytest.approx(ones.size * 0.001, rel=0.2)
    np.testing.assert_allclose(kept, 1000.0, rtol=1e-4)


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan"), True, "0.5"])
def test_rates_outside_of_0_to_1(rate) -> None:
    with pytest.raises(gc.GraphcError, match="rate"):
        nn.Dropout(rate)


def test_a_rate_that_would_keep_nothing_is_refused() -> None:
    with pytest.raises(gc.GraphcError, match="keep nothing"):
        gc.trace(nn.Dropout(1 - 1e-9), "f32[N,4]", training=True)


# -- sparsity --------------------------------------------------------------------------------------


def test_the_hidden_delta_has_the_extra_term(backend: str) -> None:
    """beta (-rho / rho_hat + (1 - rho) / (1 - rho_hat)) / N, times the slope of the sigmoid."""
    rho, weight = 0.05, 3.0
    inner = nn.Dense(4)
    before = with_weights(model(nn.Sequential(inner, nn.Sigmoid(), nn.Dense(3)), backend))
    sparse = nn.Sequential(inner, nn.Sigmoid(), nn.Sparsity(rho, weight), nn.Dense(3))
    after = with_weights(model(sparse, backend), skipped="2")
    hidden = 1 / (1 + np.exp(-(X @ before.params["0.weight"].T + before.params["0.bias"])))
    mean = hidden.mean(axis=0)
    extra = weight * (-rho / mean + (1 - rho) / (1 - mean)) / len(X) * hidden * (1 - hidden)
    before.step(X, Y), after.step(X, Y)
    change = (before.params["0.weight"] - after.params["0.weight"]) / 0.5
    np.testing.assert_allclose(change, extra.T @ X, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(after.params["3.weight"], before.params["2.weight"], atol=1e-6)


def with_weights(made: gc.Model, skipped: str | None = None) -> gc.Model:
    """The same weights for both networks, whatever the last layer's number."""
    last = "2" if skipped is None else "3"
    rng = np.random.default_rng(2)
    for name in ("0.weight", "0.bias", f"{last}.weight", f"{last}.bias"):
        made.params[name][...] = rng.standard_normal(made.params[name].shape)
    return made


def test_sparsity_is_in_the_loss_of_training_only() -> None:
    trained, evaluated, made = with_penalty(nn.Sequential(nn.Dense(3), nn.Sigmoid(), nn.Sparsity()))
    assert trained > evaluated + 0.1
    assert "log" not in str(made.graphs["forward"])


def test_activations_outside_of_0_to_1_stop_training_and_change_nothing() -> None:
    made = model(nn.Sequential(nn.Dense(3), nn.Tanh(), nn.Sparsity()))
    made.params["0.bias"][...] = -5
    before = {name: array.copy() for name, array in made.params.items()}
    with pytest.raises(gc.GraphcError, match="loss is nan"):
        made.step(X, Y)
    assert all((before[name] == array).all() for name, array in made.params.items())


# -- L1 --------------------------------------------------------------------------------------------


def test_l1_of_weights_leaves_biases_and_names_alone() -> None:
    body = nn.Sequential(nn.Dense(4), nn.Tanh(), nn.Dense(3))
    trained, evaluated, made = with_penalty(nn.Sequential(nn.L1(0.01, body)))
    assert list(made.params) == ["0.0.weight", "0.0.bias", "0.2.weight", "0.2.bias"]
    fresh = model(nn.Sequential(nn.L1(0.01, body))).params
    weights = sum(np.abs(fresh[name]).sum() for name in ("0.0.weight", "0.2.weight"))
    assert trained == pytest.approx(evaluated + 0.01 * weights, rel=1e-5)


def test_l1_of_biases_too() -> None:
    net = nn.L1(0.5, nn.Dense(3), parameters=("weight", "bias"))
    trained, evaluated, _ = with_penalty(net)
    held = model(net).params
    assert list(held) == ["weight", "bias"]
    both = sum(np.abs(array).sum() for array in held.values())
    assert trained == pytest.approx(evaluated + 0.5 * both, rel=1e-5)


def test_a_shared_module_is_penalised_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.L1(1.0, nn.Dense(5))
            self.last = nn.Dense(3)

        def __call__(self, x):
            return self.last(self.layer(nn.tanh(self.layer(x))))

    trained, evaluated, _ = with_penalty(Twice())
    weights = np.abs(model(Twice()).params["layer.weight"]).sum()
    assert trained == pytest.approx(evaluated + weights, rel=1e-5)


def test_l1_makes_weights_sparse() -> None:
    """With orthonormal inputs the lasso is known: the slopes of least squares, each moved towards
    0 by the penalty's weight, and 0 if it is smaller.
    """
    x = np.linalg.qr(np.random.default_rng(3).standard_normal((20, 5)))[0] * np.sqrt(20)
    slopes = np.array([3.0, -2.0, 0.1, -0.15, 0.05])
    net = nn.L1(0.2, nn.Dense(1, bias=False))
    made = gc.Model(net, "f32[N,5]", "squared_error", optim.SGD(0.01), backend="numpy")
    for _ in range(1000):
        made.step(x.astype(np.float32), (x @ slopes)[:, None].astype(np.float32))
    np.testing.assert_allclose(made.params["weight"], [[2.8, -1.8, 0, 0, 0]], atol=0.01)


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: nn.L1(-1.0), "weight -1.0"),
        (lambda: nn.L1(1.0, nn.relu), "is not a module"),
        (lambda: nn.L1(1.0, nn.Dense(2), "weight"), "parameters 'weight' are not names"),
        (lambda: gc.trace(nn.L1(1.0, nn.ReLU()), "f32[N,2]", training=True), "no parameter"),
        (lambda: nn.Sparsity(0.0), "rho 0.0"),
        (lambda: nn.Sparsity(1.0), "rho 1.0"),
        (lambda: nn.Sparsity(weight=float("inf")), "weight inf"),
    ],
)
def test_bad_arguments(build, complaint: str) -> None:
    with pytest.raises(gc.GraphcError, match=complaint) as caught:
        build()
    assert caught.value.remedy
