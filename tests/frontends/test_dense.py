"""Radial basis functions and tied weights: what they compute, hold and refuse.

Values against PyTorch are in test_torch_layers.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.tracing.trace import trace_callable

RNG = np.random.default_rng(2)


def shapes(net: Any, input_type: str) -> dict[str, tuple[int, ...]]:
    graph = gc.trace(net, input_type)
    return {i.attrs["name"]: i.tensor.shape for i in graph.inputs if i.attrs["kind"] != "data"}


def run(net: Any, x: np.ndarray, backend: str, **held: np.ndarray) -> np.ndarray:
    graph = gc.trace(net, f"f32[N,{x.shape[1]}]")
    return gc.compile(graph, backend)(x, **held)


# -- radial basis functions ------------------------------------------------------------------------


def test_an_rbf_is_zero_at_its_centre_and_the_squared_distance_elsewhere(backend: str) -> None:
    centres = np.array([[1, -1, 1], [-1, -1, -1]], np.float32)
    points = np.array([[1, -1, 1], [0, 0, 0], [-1, -1, 2]], np.float32)
    found = run(nn.RBF(2), points, backend, weight=centres)
    assert found.tolist() == [[0, 8], [3, 3], [5, 9]]


def test_rbf_centres_are_signs() -> None:
    """84 -> 10 as in LeNet-5: 840 numbers, each -1 or 1."""
    assert shapes(nn.RBF(10), "f32[N,84]") == {"weight": (10, 84)}
    ((node, draw),) = trace_callable(nn.RBF(10), ["f32[N,84]"]).trace.parameters.values()
    centres = draw(node.tensor.concrete(1), np.random.default_rng(0))
    assert set(np.unique(centres)) == {-1.0, 1.0}
    assert abs(centres.mean()) < 0.15


def test_an_rbf_has_gradients_of_both_orders() -> None:
    assert gc.testing.check_grads(nn.RBF(3), (RNG.standard_normal((2, 4)),)).worst < 1e-4


# -- tied weights ----------------------------------------------------------------------------------


def autoencoder() -> nn.Sequential:
    encoder = nn.Dense(3)
    return nn.Sequential(encoder, nn.Sigmoid(), nn.TiedDense(encoder), nn.Sigmoid())


def test_a_tied_decoder_owns_nothing_but_its_bias() -> None:
    assert shapes(autoencoder(), "f32[N,5]") == {"0.weight": (3, 5), "0.bias": (3,), "2.bias": (5,)}
    encoder = nn.Dense(3, bias=False)
    bare = nn.Sequential(encoder, nn.TiedDense(encoder, bias=False))
    assert shapes(bare, "f32[N,5]") == {"0.weight": (3, 5)}


def test_the_gradient_of_a_tied_weight_is_the_sum_of_both_uses(backend: str) -> None:
    def untied(x: Any, first: Any, second: Any) -> Any:
        return nn.sigmoid(nn.sigmoid(x @ first.T) @ second).sum()

    x = RNG.standard_normal((4, 5)).astype(np.float32)
    w = RNG.standard_normal((3, 5)).astype(np.float32)
    encoder = nn.Dense(3, bias=False)
    net = nn.Sequential(
        encoder, nn.Sigmoid(), nn.TiedDense(encoder, bias=False), nn.Sigmoid(), lambda y: y.sum()
    )
    both = gc.compile(gc.grad(gc.trace(net, "f32[N,5]"), ["0.weight"]), backend)
    apart = gc.grad(gc.trace(untied, "f32[N,5]", "f32[3,5]", "f32[3,5]"), ["x1", "x2"])
    one, other = gc.compile(apart, backend)(x, w, w)
    np.testing.assert_allclose(both(x, **{"0.weight": w}), one + other, rtol=1e-5, atol=1e-6)


def test_a_tied_autoencoder_learns() -> None:
    basis = RNG.standard_normal((2, 6))
    x = (RNG.standard_normal((256, 2)) @ basis).astype(np.float32)
    encoder = nn.Dense(2)
    net = nn.Sequential(encoder, nn.TiedDense(encoder))
    model = gc.Model(net, "f32[N,6]", loss="mse", optimizer=gc.optim.SGD(0.1), seed=1)
    losses = [model.step(x, x) for _ in range(200)]
    assert losses[-1] < 1e-3 * losses[0]


# -- what is refused -------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    (lambda: nn.RBF(0), "RBF: features 0"),
    (lambda: nn.RBF(2, weight_initializer=1), "RBF: weight_initializer 1 is not an initialiser"),
    (lambda: nn.TiedDense(3), "TiedDense: the encoder is 3, not a Dense"),
    (lambda: nn.TiedDense(nn.Conv(3, 3)), "TiedDense: the encoder is Conv(3, 3), not a Dense"),
    (lambda: nn.TiedDense(nn.Dense(3), bias=0), "TiedDense: bias 0"),
]


@pytest.mark.parametrize(("construct", "message"), BAD_ARGUMENTS, ids=[m for _, m in BAD_ARGUMENTS])
def test_bad_arguments_are_refused_by_the_constructor(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


def wrong_way_round() -> nn.Sequential:
    encoder = nn.Dense(3)
    return nn.Sequential(nn.TiedDense(encoder), encoder)


def too_wide() -> nn.Sequential:
    encoder = nn.Dense(3)
    return nn.Sequential(encoder, nn.Dense(4), nn.TiedDense(encoder))


BAD_INPUTS = [
    (nn.RBF(3), "f32[N,2,3]", "RBF: the input f32[N,2,3] has 3 axes, not 2"),
    (nn.RBF(3), "i32[N,2]", "not of a float dtype"),
    (nn.RBF(3), "f32[2,N]", "axis 1 of the input f32[2,N] is the batch"),
    (wrong_way_round(), "f32[N,3]", "the encoder Dense(3) has not been called yet"),
    (nn.TiedDense(nn.Dense(3)), "f32[N,3]", "the encoder Dense(3) has not been called yet"),
    (too_wide(), "f32[N,5]", "the input f32[N,4] does not have the encoder's 3 features"),
]


@pytest.mark.parametrize(("net", "type", "message"), BAD_INPUTS, ids=[m for *_, m in BAD_INPUTS])
def test_inputs_that_do_not_fit_are_refused(net, type: str, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        gc.trace(net, type)
    assert message in caught.value.what
    assert caught.value.node
    assert caught.value.remedy
    assert caught.value.location.file == __file__


def test_reprs_are_what_a_user_would_write() -> None:
    assert repr(nn.RBF(10)) == "RBF(10)"
    assert repr(nn.TiedDense(nn.Dense(3), bias=False)) == "TiedDense(Dense(3), bias=False)"
