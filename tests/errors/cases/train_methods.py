"""What is done with models and without: ensembles, compression, search, a linear SVM, replays."""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc import nn, search
from graphc.tracing.trace import trace
from graphc.train.replay import Replay

X, LABELS = np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1], np.int32)
WEIGHTS = {"0.weight": np.ones((7, 4), np.float32), "0.bias": np.zeros(7, np.float32)}
NET = nn.Sequential(nn.Dense(7))
GRAPH = trace(NET, "f32[N,4]")
RATES = {"rate": search.Uniform(0.0, 1.0)}


def model(loss: str = "cross_entropy", net: nn.Module = NET) -> gc.Model:
    """A model of a layer."""
    return gc.Model(net, "f32[N,4]", loss, backend="numpy")


def pair(x: nn.Tensor) -> tuple[nn.Tensor, ...]:
    """Two outputs."""
    return x, x


CASES = (
    # ensembles
    lambda folder: gc.Ensemble([]),
    lambda folder: gc.Ensemble([NET]),
    lambda folder: gc.Ensemble([model()], average="median"),
    lambda folder: gc.Ensemble([gc.Model(pair, "f32[N,4]", backend="numpy")]).predict(X),
    lambda folder: gc.Ensemble([model(), model(net=nn.Dense(3))]).predict(X),
    lambda folder: gc.Ensemble([model()]).evaluate(X, X),
    lambda folder: gc.Ensemble([model("mse", nn.Reshape(2, 2))]).predict(X),
    # compression
    lambda folder: gc.compress(model(), accuracy_drop=0.1, rank=1),
    lambda folder: gc.compress(model("mse", nn.ReLU()), rank=1),
    lambda folder: gc.compress(model(), accuracy_drop=0.1),
    lambda folder: gc.compress(model(), (X, LABELS), accuracy_drop=0.0, layers=("0",)),
    lambda folder: gc.compress(model("mse"), (X, np.ones((4, 7), np.float32)), rank=1),
    lambda folder: gc.compress(GRAPH, rank=1),
    lambda folder: gc.compress(model(), rank=1, optimizer=gc.optim.SGD(0.1)),
    # search
    lambda folder: search.Integer(0.5, 2),
    lambda folder: search.Uniform(1.0, 0.0),
    lambda folder: search.Choice(),
    lambda folder: search.grid(0.1, RATES),
    lambda folder: search.grid(lambda rate: rate, {}),
    lambda folder: search.grid(lambda rate: rate, {"rate": 0.1}),
    lambda folder: search.grid(lambda rate: rate, RATES, points=0),
    lambda folder: search.grid(lambda rate: "good", RATES),
    lambda folder: search.grid(lambda rate: np.nan, RATES).best,
    # a linear SVM
    lambda folder: gc.LinearSVM(cost=0.0),
    lambda folder: gc.LinearSVM().fit(X, LABELS[:3]),
    lambda folder: gc.LinearSVM().fit(X, LABELS * 0),
    lambda folder: gc.LinearSVM().predict(X),
    lambda folder: gc.LinearSVM(passes=1, tolerance=1e-9).fit(X, LABELS),
    lambda folder: gc.LinearSVM().fit(X * np.nan, LABELS),
    # replays
    lambda folder: Replay(GRAPH, {}),
    lambda folder: trace(Replay(GRAPH, WEIGHTS), "f32[N,5]"),
)
