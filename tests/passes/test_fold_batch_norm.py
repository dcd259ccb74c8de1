"""Batch normalisation folded into convolutions: the same numbers, from a smaller graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ops.interpret import interpret
from graphc.passes.base import Pipeline
from graphc.passes.fold_batch_norm import FoldBatchNorm, fold_batch_norm
from graphc.passes.instruments import Check, Verify

Array = np.ndarray[Any, Any]
TOLERANCE = {"f32": 1e-5, "f64": 1e-12}


def values(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """What the graph reads, variances positive."""
    rng = np.random.default_rng(seed)
    return {
        i.attrs["name"]: (
            rng.uniform(0.2, 2.0, i.tensor.concrete(3))
            if "var" in i.attrs["name"]
            else rng.standard_normal(i.tensor.concrete(3))
        ).astype(i.tensor.dtype.numpy)
        for i in graph.inputs
    }


def ops(graph: Graph) -> Counter[str]:
    return Counter(node.op.name for node in graph)


def check_folded(graph: Graph, tolerance: float, seed: int = 0) -> tuple[Graph, dict[str, Array]]:
    """Both forms of folding give the graph's answer, relative to its largest number."""
    given = values(graph, seed)
    (expected,) = interpret(graph, given)
    scale = float(abs(expected).max())
    as_pass = FoldBatchNorm()(graph)
    np.testing.assert_allclose(interpret(as_pass, given)[0], expected, atol=tolerance * scale)
    folded, params = fold_batch_norm(graph, given)
    (found,) = interpret(folded, {"x": given["x"], **params})
    np.testing.assert_allclose(found, expected, atol=tolerance * scale)
    assert found.dtype == expected.dtype
    assert as_pass.inputs == graph.inputs
    assert FoldBatchNorm()(as_pass) is as_pass
    assert fold_batch_norm(folded, params)[0] is folded
    return folded, params


class Block(nn.Module):
    """A residual block with a projection."""

    def __init__(self, width: int, stride: int) -> None:
        self.first = nn.Conv(width, 3, padding=1, stride=stride, bias=False)
        self.first_norm = nn.BatchNorm()
        self.second = nn.Conv(width, 3, padding=1)
        self.second_norm = nn.BatchNorm()
        self.down = nn.Sequential(nn.Conv(width, 1, stride=stride, bias=False), nn.BatchNorm())

    def __call__(self, x: Any) -> Any:
        y = nn.relu(self.first_norm(self.first(x)))
        return nn.relu(self.second_norm(self.second(y)) + self.down(x))


def residual_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv(4, 3, padding=1), nn.BatchNorm(), nn.ReLU(), Block(6, 2), Block(6, 1),
        nn.Flatten(), nn.Dense(5, bias=False), nn.BatchNorm(), nn.Tanh(), nn.Dense(3),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_residual_network_folds_every_normalisation(dtype: str) -> None:
    graph = gc.trace(residual_network(), f"{dtype}[N,3,8,8]", name="net")
    folded, params = check_folded(graph, TOLERANCE[dtype])
    assert not {"sqrt", "mul", "div", "sub"} & set(ops(folded))
    assert not [name for name in params if "norm" in name or "running" in name]
    assert params["3.first.bias"].shape == (6,)
    assert [i.attrs["name"] for i in folded.inputs][:4] == [
        "x", "0.weight", "0.bias", "3.first.weight",
    ]  # fmt: skip
    assert set(params) == {i.attrs["name"] for i in folded.inputs} - {"x"}


LAYERS: dict[str, Callable[[], Any]] = {
    "a convolution": lambda: nn.Conv(6, 3, stride=2, padding=1),
    "without bias": lambda: nn.Conv(6, 3, bias=False),
    "in groups": lambda: nn.Conv(6, 3, groups=2),
    "depthwise": lambda: nn.Conv(8, (1, 3), groups=4, bias=False),
    "transposed": lambda: nn.ConvTranspose(6, 3, stride=2, padding=1),
    "transposed in groups": lambda: nn.ConvTranspose(6, 3, groups=2, bias=False),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_every_kind_of_convolution_takes_the_scale(layer: Callable[[], Any], dtype: str) -> None:
    graph = gc.trace(nn.Sequential(layer(), nn.BatchNorm()), f"{dtype}[N,4,7,6]", name="net")
    folded, params = check_folded(graph, TOLERANCE[dtype])
    assert ops(folded)["mul"] == 0 and len(folded) <= 6
    assert list(params) == ["0.weight", "0.bias"]


@pytest.mark.parametrize("seed", range(30))
def test_random_networks(seed: int) -> None:
    """Layers, widths, strides and groups drawn at random, residual sums between them."""
    rng = np.random.default_rng(seed)
    layers: list[Any] = []
    for _ in range(rng.integers(1, 5)):
        groups = int(rng.choice([1, 2]))
        kernel = int(rng.integers(1, 4))
        layers.append(
            nn.Conv(2 * int(rng.integers(1, 4)), kernel, padding=kernel // 2, groups=groups,
                    stride=int(rng.integers(1, 3)), bias=bool(rng.integers(2)))
        )  # fmt: skip
        layers += [nn.BatchNorm() for _ in range(rng.integers(3))]
        layers += [[nn.ReLU()], [nn.MaxPool(2, 1, padding=1)], []][rng.integers(3)]
    dtype = "f64" if seed % 2 else "f32"
    graph = gc.trace(nn.Sequential(*layers), f"{dtype}[N,2,9,9]", name="net")
    norms = [k for k, layer in enumerate(layers) if isinstance(layer, nn.BatchNorm)]
    if not any(_follows_convolution(layers, k) for k in norms):
        assert FoldBatchNorm()(graph) is graph
        assert fold_batch_norm(graph, values(graph))[0] is graph
        return
    folded, _ = check_folded(graph, TOLERANCE[dtype], seed)
    # behind an activation or a pooling there is no convolution to fold into
    assert ops(folded)["sqrt"] == sum(not _follows_convolution(layers, k) for k in norms)


def _follows_convolution(layers: list[Any], position: int) -> bool:
    while isinstance(layers[position], nn.BatchNorm):
        position -= 1
    return isinstance(layers[position], nn.Conv)


def test_random_graphs_keep_their_answers() -> None:
    names = ("conv2d", "matmul", "add", "sub", "mul", "div", "neg", "broadcast", "relu", "full")
    fired = 0
    for seed in range(300):
        graph = gc.testing.random_graph(np.random.default_rng(seed), with_gradients=0, ops=names)
        folded = Pipeline((FoldBatchNorm(),))(graph, [Verify()])
        if folded is not graph:
            fired += 1
            Pipeline((FoldBatchNorm(),))(graph, [Check()])
    assert fired >= 5


def test_resnet_18_keeps_twenty_convolutions_and_no_normalisation() -> None:
    """11,689,512 parameters, less gamma and beta of 4,800 channels, plus a bias for each."""
    graph = gc.trace(gc.zoo.resnet18(), "f32[N,3,64,64]", name="resnet18")
    ones = {i.attrs["name"]: np.ones(i.tensor.concrete(1), np.float32) for i in graph.inputs[1:]}
    folded, params = fold_batch_norm(graph, ones)
    found = ops(folded)
    assert (found["conv2d"], found["matmul"], found["sqrt"]) == (20, 1, 0)
    assert found["add"] == 20 + 8 + 1  # biases, residual sums, the dense layer's bias
    assert sum(a.size for a in params.values()) == 11_689_512 - 2 * 4800 + 4800


def test_a_convolution_that_is_read_twice_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.conv, self.norm = nn.Conv(3, 3), nn.BatchNorm()

        def __call__(self, x: Any) -> Any:
            y = self.conv(x)
            return self.norm(y) + nn.relu(y)

    graph = gc.trace(Twice(), "f32[N,2,5,5]")
    assert FoldBatchNorm()(graph) is graph


def test_an_output_of_the_graph_stays() -> None:
    graph = gc.parse(
        """graph g(%x: f32[N,4], %w: parameter f32[4,3], %s: parameter f32[3]) {
          %product = matmul(%x, %w) : f32[N,3]
          %scale = broadcast(%s) {axes=(1,), shape=(N, 3)} : f32[N,3]
          %y = mul(%product, %scale) : f32[N,3]
          return %product, %y
        }"""
    )
    assert FoldBatchNorm()(graph) is graph


def test_a_normalisation_with_the_statistics_of_the_batch_stays() -> None:
    net = nn.Sequential(nn.Conv(3, 3), nn.BatchNorm())
    graph = gc.trace(net, "f32[N,2,5,5]", training=True)
    assert FoldBatchNorm()(graph) is graph


def test_a_training_step_stays() -> None:
    graph = gc.parse(
        """graph step(%x: f32[N,4], %w: parameter f32[4,3], %s: parameter f32[3]) {
          %product = matmul(%x, %w) : f32[N,3]
          %scale = broadcast(%s) {axes=(1,), shape=(N, 3)} : f32[N,3]
          %y = mul(%product, %scale) : f32[N,3]
          %next = neg(%s) : f32[3]
          return %y, %next into %s
        }"""
    )
    assert FoldBatchNorm()(graph) is graph


def test_a_map_that_is_not_the_same_along_the_rows_stays() -> None:
    graph = gc.parse(
        """graph g(%x: f32[N,2,4,4], %w: parameter f32[3,2,3,3], %s: parameter f32[2]) {
          %y = conv2d(%x, %w) {dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), stride=(1, 1)}
            : f32[N,3,2,2]
          %scale = broadcast(%s) {axes=(3,), shape=(N, 3, 2, 2)} : f32[N,3,2,2]
          %z = mul(%y, %scale) : f32[N,3,2,2]
          return %z
        }"""
    )
    assert FoldBatchNorm()(graph) is graph


def test_any_affine_map_of_channels_folds_however_it_is_written() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            self.conv, self.norm = nn.Conv(3, 2), nn.BatchNorm()

        def __call__(self, x: Any) -> Any:
            return 2.0 - (-self.norm(1.0 - self.conv(x)) / 4.0)

    graph = gc.trace(Written(), "f64[N,2,5,5]", name="net")
    folded, _ = check_folded(graph, 1e-12)
    assert ops(folded) == Counter(input=3, conv2d=1, broadcast=1, add=1)


def test_weights_shared_by_two_branches_are_folded_once_or_apart() -> None:
    class Siamese(nn.Module):
        def __init__(self, apart: bool) -> None:
            self.conv, self.norm = nn.Conv(3, 3), nn.BatchNorm()
            self.other = nn.BatchNorm() if apart else self.norm

        def __call__(self, x: Any) -> Any:
            return nn.relu(self.norm(self.conv(x))) - self.other(self.conv(-x))

    graph = gc.trace(Siamese(apart=False), "f64[N,2,5,5]", name="net")
    _, params = check_folded(graph, 1e-12)
    assert list(params) == ["conv.weight", "conv.bias"]
    graph = gc.trace(Siamese(apart=True), "f64[N,2,5,5]", name="net")
    _, params = check_folded(graph, 1e-12)
    assert list(params) == [
        "conv.weight", "conv.bias", "conv.weight.folded", "conv.bias.folded",
    ]  # fmt: skip


def test_values_that_are_missing_or_misshapen_are_named() -> None:
    graph = gc.trace(nn.Sequential(nn.Conv(3, 3), nn.BatchNorm()), "f32[N,2,5,5]")
    given = values(graph)
    with pytest.raises(
        GraphcError, match=r"1\.running_var of type f32\[3\] is not given"
    ) as caught:
        fold_batch_norm(graph, {k: v for k, v in given.items() if k != "1.running_var"})
    assert caught.value.remedy
    with pytest.raises(GraphcError, match=r"an array of shape \[4\]"):
        fold_batch_norm(graph, given | {"1.bias": np.zeros(4, np.float32)})


def test_the_folded_network_runs_on_every_backend(backend: str) -> None:
    graph = gc.trace(residual_network(), "f32[N,3,8,8]", name="net")
    given = values(graph)
    folded, params = fold_batch_norm(graph, given)
    (expected,) = interpret(graph, given)
    model = gc.Model(folded, backend=backend)
    model.load_params(params)
    scale = float(abs(expected).max())
    np.testing.assert_allclose(model.predict(given["x"]), expected, atol=1e-5 * scale)
