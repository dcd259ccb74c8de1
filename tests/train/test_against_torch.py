"""One training step of ten networks of the zoo equals PyTorch's.

tests/fixtures holds PyTorch's loss, gradients and updated parameters; both sides draw the same
initial weights and batch. "Equal" is 1e-5 of each tensor's largest value in f32, 1e-10 in f64. The
large networks are compared in f64 at the size that they are for (VGG-16 at 32x32), and in f32 on
smaller images: see `tests.fixtures.deterministic.SIDES`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, zoo
from graphc.tracing.trace import Owner
from tests.fixtures.deterministic import (
    BATCHES,
    LEARNING_RATE,
    MOMENTUM,
    SIDES,
    batch,
    initial_weights,
    large_batch,
    summary,
)

TOLERANCE = {"f32": 1e-5, "f64": 1e-10}
FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name in ("torch_steps.npz", "torch_large_steps.npz"):
        with np.load(FIXTURES / name) as stored:
            found |= stored
    return found


class Objective(nn.Module):
    """The loss of a network as a module, so that `gc.grad` can take its gradients."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __call__(self, x, labels):
        return nn.softmax_cross_entropy(self.net(x), labels)


def model_of(name: str, input_type: str, backend: str) -> gc.Model:
    net = zoo.NETWORKS[name].build()
    without_dropout(net)
    model = gc.Model(
        net,
        input_type,
        loss="cross_entropy",
        optimizer=optim.SGD(LEARNING_RATE, momentum=MOMENTUM),
        backend=backend,
    )
    model.load_params(initial_weights(name, {k: v.shape for k, v in model.params.items()}))
    return model


def without_dropout(owner: Owner) -> None:
    """No two programs drop the same units."""
    if isinstance(owner, nn.Dropout):
        owner.rate = 0.0
    for _, inner in owner.children():
        without_dropout(inner)


def assert_same(
    found: np.ndarray, wanted: np.ndarray, size: int, what: str, tolerance: float = 1e-5
) -> None:
    largest, total, norm = wanted[:3]
    np.testing.assert_allclose(
        found[3:], wanted[3:], rtol=0, atol=tolerance * largest, err_msg=what
    )
    assert abs(found[0] - largest) <= tolerance * largest, what
    assert abs(found[2] - norm) <= tolerance * norm, what
    assert abs(found[1] - total) <= tolerance * norm * size**0.5, what


# -- small networks, on every backend --------------------------------------------------------------


@pytest.mark.parametrize("name", BATCHES)
def test_loss_and_updated_parameters(name: str, backend: str, expected) -> None:
    model = model_of(name, zoo.NETWORKS[name].input_type, backend)
    loss = model.step(*batch(name))
    assert loss == pytest.approx(float(expected[f"{name}/loss"]), rel=1e-5)
    for key, array in model.params.items():
        wanted = expected[f"{name}/{key}/updated"]
        assert_same(summary(name, key, array), wanted, array.size, key)


@pytest.mark.parametrize("name", BATCHES)
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


# -- large networks, in native code ----------------------------------------------------------------


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", SIDES)
def test_a_step_of_a_large_network(name: str, precision: str, expected, monkeypatch) -> None:
    """Loss, gradients, updated parameters and running averages, from one compilation, with plain
    sums of products (Winograd's algorithm rounds otherwise; its bound has a test of its own).

    Momentum begins at 0, so that after a step each velocity is the gradient.
    """
    monkeypatch.setenv("GRAPHC_WINOGRAD", "0")
    side, tolerance = SIDES[name][precision], TOLERANCE[precision]
    model = model_of(name, f"{precision}[N,3,{side},{side}]", "llvm")
    graph = model.graphs["train"]
    velocities = {
        i.attrs["name"]: np.zeros(i.tensor.shape, i.tensor.dtype.numpy)
        for i in graph.inputs
        if i.attrs["name"].endswith(".velocity")
    }
    x, y = large_batch(name, side)
    session = model.executable("train").bind(model.params | velocities)
    rate = np.asarray(LEARNING_RATE, x.dtype if precision == "f32" else np.float64)
    loss, *_ = session(x.astype(rate.dtype), y.astype(np.int32), rate)
    wanted = f"{name}/{precision}"
    assert float(loss) == pytest.approx(float(expected[f"{wanted}/loss"]), rel=tolerance)
    for kind, ending, tensors in (
        ("gradient", ".velocity", velocities),
        ("updated", "", model.params),
    ):
        names = [str(n) for n in expected[f"{wanted}/{kind}/names"]]
        assert {name + ending for name in names} == tensors.keys()
        for key, row in zip(names, expected[f"{wanted}/{kind}"], strict=True):
            array = tensors[key + ending]
            assert_same(summary(name, key, array), row, array.size, f"{kind} {key}", tolerance)
