"""One training step of the five zoo networks equals PyTorch's.

tests/fixtures/torch_steps.npz holds PyTorch's loss, gradients and updated parameters; both sides
draw the same initial weights and batch. "Equal" is 1e-5 of each tensor's largest value.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, zoo
from tests.fixtures.deterministic import (
    INPUTS,
    LEARNING_RATE,
    MOMENTUM,
    batch,
    initial_weights,
    summary,
)

TOLERANCE = 1e-5
PATH = Path(__file__).parents[1] / "fixtures" / "torch_steps.npz"


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(PATH) as stored:
        return dict(stored)


class Objective(nn.Module):
    """The loss of a network as a module, so that `gc.grad` can take its gradients."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, x, labels):
        return nn.softmax_cross_entropy(self.net(x), labels)


def model_of(name: str, backend: str) -> gc.Model:
    model = gc.Model(
        zoo.NETWORKS[name].build(),
        zoo.NETWORKS[name].input_type,
        loss="cross_entropy",
        optimizer=optim.SGD(LEARNING_RATE, momentum=MOMENTUM),
        backend=backend,
    )
    model.load_params(initial_weights(name, {k: v.shape for k, v in model.params.items()}))
    return model


def assert_same(found: np.ndarray, wanted: np.ndarray, size: int, what: str) -> None:
    largest, total, norm = wanted[:3]
    np.testing.assert_allclose(
        found[3:], wanted[3:], rtol=0, atol=TOLERANCE * largest, err_msg=what
    )
    assert abs(found[0] - largest) <= TOLERANCE * largest, what
    assert abs(found[2] - norm) <= TOLERANCE * norm, what
    assert abs(found[1] - total) <= TOLERANCE * norm * size**0.5, what


@pytest.mark.parametrize("name", INPUTS)
def test_loss_and_updated_parameters(name: str, backend: str, expected) -> None:
    model = model_of(name, backend)
    loss = model.step(*batch(name))
    assert loss == pytest.approx(float(expected[f"{name}/loss"]), rel=TOLERANCE)
    for key, array in model.params.items():
        wanted = expected[f"{name}/{key}/updated"]
        assert_same(summary(name, key, array), wanted, array.size, key)


@pytest.mark.parametrize("name", INPUTS)
def test_gradients(name: str, backend: str, expected) -> None:
    network = zoo.NETWORKS[name]
    graph = gc.trace(Objective(network.build()), network.input_type, "i32[N]", training=True)
    names = [i.attrs["name"] for i in graph.inputs if i.attrs["kind"] == "parameter"]
    shapes = {i.attrs["name"]: i.tensor.shape for i in graph.inputs if i.attrs["name"] in names}
    weights = initial_weights(name, {k.removeprefix("net."): v for k, v in shapes.items()})
    x, y = batch(name)
    run = gc.compile(gc.grad(graph, names), backend=backend)
    for full, gradient in zip(
        names, run(x, y, **{f"net.{k}": v for k, v in weights.items()}), strict=True
    ):
        key = full.removeprefix("net.")
        wanted = expected[f"{name}/{key}/gradient"]
        assert_same(summary(name, key, gradient), wanted, gradient.size, key)
