"""Networks made of graphs train, and draw random numbers, as what they were traced of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.base.errors import GraphcError
from graphc.tracing.trace import current_trace, trace_callable
from graphc.train.replay import Replay, TrainingForm

TYPE = "f32[N,2,6,6]"


class Penalised(nn.Module):
    """A dense layer whose mean output adds to the loss."""

    def __init__(self) -> None:
        self.dense = nn.Dense(3)

    def __call__(self, x: Any) -> Any:
        y = self.dense(x)
        current_trace().penalty(y.mean() * 0.01)
        return y


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv(4, 3), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Dropout(0.2),
        Penalised(),
    )  # fmt: skip


def replayed(net: Any, model: gc.Model) -> Replay:
    traced = trace_callable(net, [TYPE], training=True)
    return Replay(model.graphs["forward"], model.params, TrainingForm.of(traced))


def model_of(net: Any) -> gc.Model:
    return gc.Model(net, TYPE, "cross_entropy", optim.SGD(0.1, momentum=0.9), backend="numpy")


def data(steps: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((8, 2, 6, 6)).astype(np.float32), rng.integers(0, 3, 8))
        for _ in range(steps)
    ]


def test_a_replay_traces_to_the_very_graph_it_is_made_of() -> None:
    net = network()
    model = model_of(net)
    assert gc.trace(replayed(net, model), TYPE, name="forward") is model.graphs["forward"]


def test_it_trains_as_the_network_does_to_the_bit() -> None:
    """Dropout (from the same random key), running averages and a penalty included."""
    net = network()
    model = model_of(net)
    again = model_of(replayed(net, model))
    again._engine.arrays["random_key"][...] = model._engine.arrays["random_key"]
    for x, y in data(4):
        assert again.step(x, y) == model.step(x, y)
    for name, array in model.params.items():
        np.testing.assert_array_equal(again.params[name], array)
    assert not np.array_equal(model.params["1.running_mean"], np.zeros(4))


def test_a_graph_alone_can_be_trained(tmp_path: Any) -> None:
    model = gc.Model(nn.Sequential(nn.Dense(4), nn.Tanh(), nn.Dense(3)), "f32[N,5]")
    model.save(tmp_path / "net.safetensors")
    loaded = gc.load(tmp_path / "net.safetensors")
    net = Replay(loaded.graphs["forward"], loaded.params)
    tuned = gc.Model(net, "f32[N,5]", "cross_entropy", optim.SGD(0.5), backend="numpy")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32, 5)).astype(np.float32)
    y = x[:, :3].argmax(1)
    np.testing.assert_allclose(tuned.predict(x), model.predict(x), rtol=1e-4, atol=1e-5)
    losses = [tuned.step(x, y) for _ in range(30)]
    assert losses[-1] < 0.6 * losses[0]


def test_a_replay_is_a_part_of_a_larger_network() -> None:
    body = gc.trace(nn.Sequential(nn.Dense(4), nn.Dropout(0.5)), "f32[N,5]", training=True)
    values = {"0.weight": np.ones((4, 5), np.float32), "0.bias": np.zeros(4, np.float32)}
    net = nn.Sequential(nn.Dropout(0.5), Replay(body, values), nn.Dense(2))
    graph = gc.trace(net, "f32[N,5]", training=True)
    assert {i.attrs["name"] for i in graph.inputs[1:]} == {
        "1.0.weight", "1.0.bias", "2.weight", "2.bias", "random_key",
    }  # fmt: skip
    streams = [n.attrs["stream"] for n in graph if n.op.name == "dropout"]
    assert len(set(streams)) == 2
    model = gc.Model(net, "f32[N,5]", backend="numpy")
    np.testing.assert_array_equal(model.params["1.0.weight"], values["0.weight"])


def test_several_results_come_back_as_a_tuple() -> None:
    graph = gc.trace(lambda x: (x + 1.0, x * 2.0), "f32[N,2]", name="pair")
    assert gc.trace(Replay(graph, {}), "f32[N,2]", name="pair") is graph


def test_values_and_inputs_that_do_not_fit_are_refused() -> None:
    graph = gc.trace(nn.Dense(3), "f32[N,4]")
    values = {"weight": np.zeros((3, 4)), "bias": np.zeros(3)}
    with pytest.raises(GraphcError, match=r"'bias', f32\[3\], is not given"):
        Replay(graph, {"weight": values["weight"]})
    with pytest.raises(GraphcError, match=r"is of shape \[4\]") as caught:
        Replay(graph, values | {"bias": np.zeros(4)})
    assert caught.value.remedy
    with pytest.raises(GraphcError, match=r"takes f32\[N,4\], not f32\[N,5\]") as caught:
        gc.trace(Replay(graph, values), "f32[N,5]")
    assert caught.value.remedy
