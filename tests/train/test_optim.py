"""Optimisers: their formulas, schedules, what they keep, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import DType, TensorType
from graphc.ops.optimizers import rmsprop_update
from graphc.ops.structure import get
from graphc.passes.pipelines import BACKEND
from tests.fixtures.torch_optimizers import (
    OPTIMIZERS,
    SHAPES,
    STEPS,
    OptimizerRow,
    gradients,
    learning_rate,
    parameters,
)

PATH = Path(__file__).parents[1] / "fixtures" / "torch_optimizers.npz"
TOLERANCE = {DType.f32: 1e-6, DType.f64: 1e-12}

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


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(PATH) as stored:
        return dict(stored)


def update_graph(optimizer: optim.Optimizer, dtype: DType) -> Graph:
    """One step on fed gradients: (gradients, learning rate, parameters, states) -> what is new."""
    types = {name: TensorType(dtype, shape) for name, shape in SHAPES.items()}
    fed = [make_input(f"{name}.gradient", type) for name, type in types.items()]
    held = [make_input(name, type, "parameter") for name, type in types.items()]
    rate = make_input("learning_rate", TensorType(dtype, ()))
    update = optimizer.update(held, fed, rate)
    states = [before for before, _ in update.states]
    after = [*update.parameters, *(new for _, new in update.states)]
    return Graph("update", [*fed, rate, *held, *states], after)


@pytest.mark.parametrize("dtype", [DType.f32, DType.f64], ids=str)
@pytest.mark.parametrize("row", OPTIMIZERS, ids=lambda row: row.name)
def test_ten_steps_are_pytorchs(row: OptimizerRow, dtype: DType, backend: str, expected) -> None:
    optimizer = getattr(optim, row.ours)(**row.arguments)
    graph = update_graph(optimizer, dtype)
    run = gc.compile(graph, backend=backend)
    held = [i for i in graph.inputs if i.attrs["kind"] != "data"]
    values = [np.zeros(i.tensor.shape, i.tensor.dtype.numpy) for i in held]
    values[: len(SHAPES)] = [v.astype(dtype.numpy) for v in parameters().values()]
    for step in range(STEPS):
        fed = [g.astype(dtype.numpy) for g in gradients(step).values()]
        values = list(
            run(*fed, np.asarray(learning_rate(step), dtype.numpy), **named(held, values))
        )
        for name, found in zip(SHAPES, values, strict=False):
            wanted = expected[f"{row.name}/{name}"][step]
            atol = TOLERANCE[dtype] * np.abs(wanted).max()
            np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


def named(inputs, values) -> dict[str, np.ndarray]:
    return {i.attrs["name"]: v for i, v in zip(inputs, values, strict=True)}


def test_every_optimiser_is_compared_with_pytorch() -> None:
    every = {c.__name__ for c in map(optim.__dict__.get, optim.__all__) if is_optimizer(c)}
    assert {row.ours for row in OPTIMIZERS} == every


def is_optimizer(member: object) -> bool:
    return (
        isinstance(member, type)
        and issubclass(member, optim.Optimizer)
        and (member is not optim.Optimizer)
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.SGD(momentum=0.9),
        optim.AdaGrad(),
        optim.RMSProp(momentum=0.9, centered=True),
        optim.Adam(),
        optim.AdamW(),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_the_update_is_part_of_the_kernel_that_computes_the_gradient(optimizer) -> None:
    model = gc.Model(nn.Dense(3), "f32[N,20]", "mse", optimizer)
    fused = BACKEND["large"](model.graphs["train"])
    bodies = [n.attrs["body"] for n in fused.nodes if n.op.name == "fused"]
    matmuls = [b for b in bodies if any(n.op.name == "matmul" for n in b.nodes)]
    assert len(matmuls) == 2, "one forward, one for the weight's gradient"
    states = len([i for i in model.graphs["train"].inputs if "weight." in i.attrs["name"]])
    assert len(matmuls[1].outputs) == 1 + states


def test_a_variance_that_rounding_made_negative_counts_as_zero(backend: str) -> None:
    w, g, square, mean, rate = (make_input(k, TensorType(DType.f32, ())) for k in "wgsmr")
    updated = rmsprop_update(w, g, square, mean, rate, alpha=0.5, eps=0.25, centered=True)
    run = gc.compile(Graph("update", [w, g, square, mean, rate], [get(updated, 0)]), backend)
    one = np.float32(1)
    assert run(one, one, one / 2, one, one / 2) == 1 - 0.5 * 1 / 0.25


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
        (lambda: optim.AdamW(betas=(0.9,)), "AdamW: betas (0.9,)"),
        (lambda: optim.AdamW(weight_decay="no"), "AdamW: weight_decay is 'no'"),
        (lambda: optim.AdaGrad(None), "AdaGrad: lr is None"),
        (lambda: optim.AdaGrad(eps=-1), "AdaGrad: eps is -1"),
        (lambda: optim.AdaGrad(initial=-0.1), "AdaGrad: initial is -0.1"),
        (lambda: optim.AdaGrad(weight_decay=True), "AdaGrad: weight_decay is True"),
        (lambda: optim.RMSProp(-1), "RMSProp: lr is -1"),
        (lambda: optim.RMSProp(alpha=1.0), "RMSProp: alpha is 1.0"),
        (lambda: optim.RMSProp(eps=float("nan")), "RMSProp: eps is nan"),
        (lambda: optim.RMSProp(momentum=2), "RMSProp: momentum is 2"),
        (lambda: optim.RMSProp(centered=1), "RMSProp: centered 1"),
    ],
)
def test_bad_arguments(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy
