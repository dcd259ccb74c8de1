"""Modules: naming, nesting, sharing, and where errors point."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn


class Block(nn.Module):
    def __init__(self, width: int):
        self.conv = nn.Conv(width, 3, padding=1)
        self.norm = nn.BatchNorm()

    def __call__(self, x):
        return nn.relu(self.norm(self.conv(x)) + x)


class Net(nn.Module):
    def __init__(self):
        self.stem = nn.Conv(4, 3)
        self.blocks = [Block(4), Block(4)]
        self.heads = {"a": nn.Dense(2), "b": (nn.Dense(3), nn.Dense(5))}
        self.depth = 7

    def __call__(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = nn.flatten(x)
        return self.heads["a"](x), self.heads["b"][0](x), self.heads["b"][1](x)


def held(net, type_text: str) -> list[str]:
    graph = gc.trace(net, type_text)
    return [i.attrs["name"] for i in graph.inputs if i.attrs["kind"] != "data"]


def test_names_follow_attributes_lists_and_dictionaries() -> None:
    names = held(Net(), "f32[N,1,8,8]")
    assert [n for n in names if n.endswith("weight")] == [
        "stem.weight",
        "blocks.0.conv.weight",
        "blocks.0.norm.weight",
        "blocks.1.conv.weight",
        "blocks.1.norm.weight",
        "heads.a.weight",
        "heads.b.0.weight",
        "heads.b.1.weight",
    ]
    assert "blocks.1.norm.running_var" in names


def test_sequential_names_layers_by_position_and_takes_functions() -> None:
    net = nn.Sequential(nn.Flatten(), nn.relu, nn.Sequential(nn.Dense(3)), lambda x: x * 2.0)
    assert held(net, "f32[N,2,2]") == ["2.0.weight", "2.0.bias"]
    assert len(net) == 4
    assert isinstance(net[0], nn.Flatten)
    assert list(net)[1] is nn.relu


def test_a_layer_used_twice_is_one_set_of_parameters(backend: str) -> None:
    class Twice(nn.Module):
        def __init__(self):
            self.dense = nn.Dense(3, bias=False)

        def __call__(self, x):
            return self.dense(self.dense(x))

    graph = gc.trace(Twice(), "f32[N,3]")
    w = np.diag([1.0, 2.0, 3.0]).astype(np.float32)
    found = gc.compile(graph, backend=backend)(np.ones((1, 3), np.float32), **{"dense.weight": w})
    assert found.tolist() == [[1.0, 4.0, 9.0]]


def test_a_shared_layer_refuses_another_shape() -> None:
    dense = nn.Dense(4)
    with pytest.raises(gc.GraphcError, match="was f32\\[4,3\\] at its first use"):
        gc.trace(nn.Sequential(dense, dense), "f32[N,3]")


def test_a_layer_that_is_no_attribute_is_refused_by_name() -> None:
    hidden = nn.Dense(4)

    class Closure(nn.Module):
        def __call__(self, x):
            return hidden(x)

    with pytest.raises(gc.GraphcError, match="Dense\\(4\\) is used but is not an attribute"):
        gc.trace(Closure(), "f32[N,3]")


def test_a_layer_outside_of_tracing_says_so() -> None:
    with pytest.raises(gc.GraphcError, match="called on a ndarray") as caught:
        nn.Dense(3)(np.ones((1, 2)))
    assert "gc.Model" in caught.value.remedy


def test_an_error_names_the_layer_and_points_at_the_line_it_was_written_on() -> None:
    small = nn.Conv(16, 5)
    line = small.location.line
    net = nn.Sequential(nn.Conv(6, 5), nn.ReLU(), nn.Sequential(nn.Tanh(), small))
    with pytest.raises(gc.GraphcError) as caught:
        gc.trace(net, "f32[N,1,8,8]")
    text = str(caught.value)
    assert "(4 - 5 + 0)/1 + 1 = 0" in text
    assert "in layer 1 (Conv(16, 5))  in layer 2 (Sequential(Tanh(), Conv(16, 5)))" in text
    assert f"test_modules.py:{line}" in text


def test_nodes_carry_the_line_of_their_layer() -> None:
    dense = nn.Dense(3)
    graph = gc.trace(nn.Sequential(nn.Flatten(), dense), "f32[N,2,2]")
    matmul = next(n for n in graph.nodes if n.op.name == "matmul")
    assert (matmul.location.file, matmul.location.line) == (__file__, dense.location.line)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((nn.Tanh(), nn.ReLU), "layer 1 is the class ReLU"),
        ((nn.Tanh(), 5), "layer 1 is 5, not a layer"),
    ],
)
def test_sequential_refuses_what_is_no_layer(layers, message: str) -> None:
    with pytest.raises(gc.GraphcError, match=message):
        nn.Sequential(*layers)


def test_batch_norm_normalises_with_the_batch_and_moves_its_averages(backend: str) -> None:
    """PyTorch's semantics: biased variance normalises, the unbiased one is remembered."""
    x = np.random.default_rng(0).standard_normal((6, 2, 3, 3)).astype(np.float32) * 3 + 1
    loss_of_output = lambda y, target: ((y - target) * (y - target)).mean()  # noqa: E731
    model = gc.Model(
        nn.Sequential(nn.BatchNorm(momentum=0.2)),
        "f32[N,2,3,3]",
        loss=loss_of_output,
        optimizer=gc.optim.SGD(0.0),
        target_type="f32[N,2,3,3]",
        backend=backend,
    )
    mean, biased = x.mean((0, 2, 3)), x.var((0, 2, 3))
    normal = (x - mean[:, None, None]) / np.sqrt(biased + 1e-5)[:, None, None]
    assert model.step(x, normal) < 1e-10
    np.testing.assert_allclose(model.params["0.running_mean"], 0.2 * mean, rtol=1e-5)
    unbiased = x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(model.params["0.running_var"], 0.8 + 0.2 * unbiased, rtol=1e-5)
    running = [model.params[f"0.running_{k}"][:, None, None] for k in ("mean", "var")]
    expected = (x - running[0]) / np.sqrt(running[1] + 1e-5)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_of_a_single_value_stays_finite() -> None:
    model = gc.Model(
        nn.Sequential(nn.BatchNorm()),
        "f32[N,3]",
        loss="mse",
        optimizer=gc.optim.SGD(0.1),
        backend="numpy",
    )
    model.step(np.ones((1, 3), np.float32), np.zeros((1, 3), np.float32))
    assert all(np.isfinite(a).all() for a in model.params.values())
