"""Siamese networks: one network for two inputs, and what training on pairs does."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import data, nn, optim

PAIR = ("f32[N,5]", "f32[N,5]")
RNG = np.random.default_rng(0)
A, B = (RNG.standard_normal((7, 5)).astype(np.float32) for _ in range(2))


class SumOfDistances(nn.Module):
    def __init__(self, siamese):
        self.siamese = siamese

    def __call__(self, a, b):
        return self.siamese(a, b).sum()


def branch() -> nn.Sequential:
    return nn.Sequential(nn.Dense(6), nn.Tanh(), nn.Dense(3))


def test_both_inputs_go_through_the_same_weights(backend: str) -> None:
    pair = gc.Model(nn.Siamese(branch()), PAIR, backend=backend, seed=3)
    alone = gc.Model(branch(), "f32[N,5]", backend=backend)
    assert list(pair.params) == [f"net.{name}" for name in alone.params]
    alone.load_params({n.removeprefix("net."): a for n, a in pair.params.items()})
    first, second = pair.predict((A, B))
    np.testing.assert_allclose(first, alone.predict(A), rtol=1e-6)
    np.testing.assert_allclose(second, alone.predict(B), rtol=1e-6)
    distances = gc.Model(nn.Siamese(branch(), distance=True), PAIR, backend=backend, seed=3)
    wanted = np.linalg.norm(first - second, axis=1)
    np.testing.assert_allclose(distances.predict((A, B)), wanted, rtol=1e-5)


def test_the_gradient_is_the_sum_over_both_uses() -> None:
    """For d = |W a - W b|, dd/dW = (W (a - b) / d) (a - b)^T, summed over the pairs."""
    total = SumOfDistances(nn.Siamese(nn.Dense(4, bias=False), distance=True))
    weight = RNG.standard_normal((4, 5)).astype(np.float32)
    graph = gc.grad(gc.trace(total, *PAIR), wrt=["siamese.net.weight"])
    gradient = gc.compile(graph, backend="numpy")(A, B, **{"siamese.net.weight": weight})
    across = A - B
    image = across @ weight.T
    lengths = np.linalg.norm(image, axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, (image / lengths).T @ across, rtol=1e-4, atol=1e-5)


def test_training_on_pairs_brings_classes_together_and_apart() -> None:
    train, test = data.digits(1)
    x, held_out = (part.x.reshape(len(part), -1) for part in (train, test))
    net = nn.Sequential(nn.Dense(32), nn.Tanh(), nn.Dense(8))
    model = gc.Model(
        nn.Siamese(net), ("f32[N,64]", "f32[N,64]"), "contrastive", optim.Adam(3e-3),
        backend="numpy",
    )  # fmt: skip
    check = data.pairs(held_out, test.y, 1000, seed=1)

    def right() -> float:
        first, second = model.predict(check.x)
        near = np.linalg.norm(first - second, axis=1) < 1.0  # beta / alpha of the loss
        return float((near == check.y).mean())

    before = right()
    model.fit(data.pairs(x, train.y, 4000), epochs=16, progress=None)
    assert before < 0.7
    assert right() > 0.9


@pytest.mark.parametrize(
    "construct", [lambda: nn.Siamese(nn.Dense), lambda: nn.Siamese(7), lambda: nn.Siamese(abs, 1)]
)
def test_what_does_not_fit(construct) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert caught.value.remedy


def test_it_says_what_it_is() -> None:
    assert repr(nn.Siamese(nn.Dense(3), distance=True)) == "Siamese(Dense(3), distance=True)"
