"""What a layer computes is what the network computes if it ends there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.inspect.activations import activations, layer_results

INPUT = "f32[N,1,9,9]"


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv(3, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(4)
    )  # fmt: skip


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((5, 1, 9, 9), np.float32)


def test_each_is_the_output_of_the_network_up_to_there(x: np.ndarray) -> None:
    net = network()
    model = gc.Model(net, INPUT)
    found = activations(model, x)
    assert list(found) == ["0 conv2d", "1", "2 relu", "3 max_pool2d", "5 matmul"]
    for name, array in found.items():
        part = gc.Model(net[: int(name[0]) + 1], INPUT)
        part.load_params({key: model.params[key] for key in part.params})
        np.testing.assert_allclose(array, part.predict(x), rtol=1e-5, atol=1e-6)


def test_blocks_name_their_layers_by_path_and_functions_by_what_they_do(x: np.ndarray) -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.Dense(6), nn.Dense(6)

        def __call__(self, x):  # type: ignore[no-untyped-def]
            hidden = nn.tanh(self.first(x))
            return nn.tanh(self.second(hidden) + hidden)

    graph = gc.trace(nn.Sequential(nn.Flatten(), Block()), INPUT)
    names = ["1.first matmul", "tanh", "1.second matmul", "add", "tanh 2"]
    assert list(layer_results(graph)) == names


def test_a_loaded_network_is_told_apart_by_its_parameters(tmp_path: Path, x: np.ndarray) -> None:
    """A file holds no lines of source; what reads "0.weight" is layer 0 all the same."""
    model = gc.Model(network(), INPUT)
    model.save(tmp_path / "net")
    loaded = gc.load(tmp_path / "net")
    (array,) = activations(loaded, x, ["0 conv2d"]).values()
    np.testing.assert_array_equal(array, activations(model, x, ["0"])["0 conv2d"])


def test_some_layers_by_path_or_name(x: np.ndarray) -> None:
    model = gc.Model(network(), INPUT)
    assert list(activations(model, x, ["5", "2 relu"])) == ["5 matmul", "2 relu"]
    with pytest.raises(gc.GraphcError, match="no layer '7'") as caught:
        activations(model, x, ["7"])
    assert "5 matmul" in str(caught.value)
