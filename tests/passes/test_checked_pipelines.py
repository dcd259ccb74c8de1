"""Whole pipelines on whole training steps, verified and checked after every pass."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc import nn, optim
from graphc.ir.graph import Graph
from graphc.passes.base import PASSES, Pipeline
from graphc.passes.catalog import load
from graphc.passes.instruments import Check, Verify
from graphc.passes.pipelines import BACKEND

load()


OPTIMIZERS = {"sgd": optim.SGD(0.1, momentum=0.9, nesterov=True), "adam": optim.Adam(0.01)}


def training_step(optimizer: str = "sgd") -> Graph:
    """A convolutional network with normalisation, its loss, its gradients and their use."""
    net = nn.Sequential(
        nn.Conv(4, 3, padding=1), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2),
        nn.Conv(3, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Dense(5),
    )  # fmt: skip
    model = gc.Model(
        net,
        "f32[N,2,10,10]",
        loss="cross_entropy",
        optimizer=OPTIMIZERS[optimizer],
        backend="numpy",
    )
    return model.graphs["train"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("pipeline", BACKEND.values(), ids=BACKEND)
def test_the_default_pipelines_keep_every_answer(pipeline: Pipeline, optimizer: str) -> None:
    graph = training_step(optimizer)
    made = pipeline(graph, [Verify(), Check()])
    assert made is not graph


@pytest.mark.parametrize(
    "name", sorted(name for name, kind in PASSES.items() if not kind.changes_values)
)
def test_every_pass_alone_keeps_every_answer(name: str) -> None:
    primitive = Pipeline.parse("simplify,decompose")(training_step())
    made = Pipeline.parse(name)(primitive, [Verify(), Check()])
    assert gc.parse(str(made)) is made
