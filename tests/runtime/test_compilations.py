"""Every compilation is remembered with its reason."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.runtime import compilations

X = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
Y = np.arange(40) % 3


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilations, "_noted", deque(maxlen=compilations.KEPT))


def model(features: int = 3, inputs: str = "f32[N,5]") -> gc.Model:
    net = nn.Sequential(nn.Dense(features))
    return gc.Model(net, inputs, loss="cross_entropy", optimizer=optim.SGD(0.1))


def reasons() -> list[str]:
    return [c.why for c in gc.explain_recompiles()]


def test_a_first_use_and_a_first_large_batch() -> None:
    first = model()
    assert str(gc.explain_recompiles()) == "nothing was compiled"
    for batch in (4, 4, 40, 39, 3):
        first.step(X[:batch], Y[:batch])
    assert reasons() == [
        "the first use of a graph named train",
        "the first run with a large batch, of 40",
    ]
    small, large = gc.explain_recompiles()
    assert (small.variant, small.batch, large.variant, large.batch) == ("small", 4, "large", 40)
    assert small.graph == "train" and small.backend == "llvm" and not small.cached
    assert str(small.inputs["x"]) == "f32[N,5]"
    assert str(small).startswith("train for small batches on llvm: compiled in ")


def test_other_types_other_nodes_other_executables() -> None:
    first = model()
    first.step(X[:4], Y[:4])
    first.freeze("0.bias")
    first.step(X[:4], Y[:4])
    model(4).step(X[:4], Y[:4])
    model(4, "f64[N,5]").step(X[:4].astype(np.float64), Y[:4])
    found = reasons()[1:]
    assert found[0] == "another graph of that name: its inputs are the same, its nodes are not"
    assert found[1] == "'0.weight' is f32[4,5]; in the last graph of that name it was f32[3,5]"
    assert found[2].startswith("'x' is f64[N,5]; in the last graph of that name it was f32[N,5]")


def test_an_executable_of_the_same_graph_is_another_executable() -> None:
    graph = gc.trace(lambda x: x + 1.0, "f32[N,5]")
    gc.compile(graph)(X)
    gc.compile(graph)(X)
    assert reasons()[1] == "another executable of the same graph: another model, or other options"


def test_an_input_that_is_gone_is_named() -> None:
    gc.compile(gc.trace(lambda x, y: x + y, "f32[N,5]", "f32[N,5]", name="sum"))(X, X)
    gc.compile(gc.trace(lambda x: x + 1.0, "f32[N,5]", name="sum"))(X)
    assert reasons()[1] == "'x' is new since the last graph of that name"


def test_only_so_many_are_kept_and_no_graph_is_kept_alive() -> None:
    graph = gc.trace(lambda x: x + 1.0, "f32[N,5]")
    for _ in range(compilations.KEPT + 1):
        compilations.note_compilation(
            graph, backend="b", variant="small", batch=1, seconds=0.0, cached=True
        )
    found = gc.explain_recompiles()
    assert len(found) == compilations.KEPT
    assert "from the cache" in str(found[0])
