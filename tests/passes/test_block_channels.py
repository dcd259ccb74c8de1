"""Channels in blocks: which networks and which of their nodes, and that the answers stay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.graph import Graph, make_input
from graphc.ir.layouts import blocked_axes
from graphc.ir.types import DType, TensorType, parse_type
from graphc.ops.contractions import conv2d, conv2d_input_grad, conv2d_weight_grad
from graphc.ops.elementwise import add, relu
from graphc.ops.interpret import interpret
from graphc.ops.views import broadcast
from graphc.passes.base import Pipeline
from graphc.passes.batch_last import BatchLast
from graphc.passes.block_channels import BlockChannels
from graphc.passes.decompose import Decompose
from graphc.passes.instruments import Check, Verify
from graphc.passes.retype import retype
from graphc.passes.simplify import Simplify
from graphc.passes.winograd import Winograd
from graphc.testing import compare, random_inputs

BLOCKED = Pipeline((BlockChannels(everywhere=True),))  # images are small: copies would cost more
PRIMITIVE = Pipeline((Decompose(), Simplify()))
Traced = Callable[[nn.Tensor], Any]


def _blocked(net: Traced, image: str, *, training: bool = False) -> Graph:
    """The network with its channels in blocks, its answers checked."""
    graph = PRIMITIVE(gc.trace(net, image, training=training))
    return BLOCKED(graph, [Verify(), Check()])


def _layouts(graph: Graph) -> dict[str, set[str]]:
    """In which layouts the nodes of each op are stored."""
    found = defaultdict(set)
    for node in graph.nodes:
        if isinstance(node.type, TensorType):
            found[node.op.name].add(node.tensor.layout)
    return found


def _has_blocks(graph: Graph) -> bool:
    return any(
        isinstance(n.type, TensorType) and blocked_axes(n.tensor.layout) for n in graph.nodes
    )


# -- which nodes are in blocks ---------------------------------------------------------------------


def test_a_wide_network_is_in_blocks_up_to_its_flat_features() -> None:
    net = nn.Sequential(
        nn.Conv(16, 3, padding=1, bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2),
        nn.Conv(32, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.Dense(5),
    )  # fmt: skip
    for training in (False, True):
        found = _layouts(_blocked(net, "f32[N,3,12,12]", training=training))
        for name in ("conv2d", "mul", "relu", "max_pool2d", "tanh"):
            assert "blocked_1" in found[name], name
            assert found[name] <= {"blocked_1", "batch_first"}, name
        assert found["conv2d"] == found["max_pool2d"] == found["tanh"] == {"blocked_1"}
        assert found["reshape"] == found["matmul"] == {"batch_first"}


def test_weights_are_stored_as_they_are_read_and_images_of_few_channels_as_they_come() -> None:
    net = nn.Sequential(nn.Conv(32, 3), nn.Conv(48, 3))
    graph = _blocked(net, "f32[N,3,9,9]")
    first, second = (n for n in graph.nodes if n.op.name == "conv2d")
    read = [[str(i.type) for i in conv.inputs] for conv in (first, second)]
    assert read[0] == ["f32[N,3,9,9]", "f32[32,3,3,3]{blocked_0}"]
    assert read[1] == ["f32[N,32,7,7]{blocked_1}", "f32[48,32,3,3]{blocked_1_0}"]


def test_the_mean_of_every_map_reads_blocks() -> None:
    net = nn.Sequential(nn.Conv(32, 3), nn.ReLU(), nn.GlobalAvgPool(), nn.Flatten(), nn.Dense(3))
    graph = _blocked(net, "f32[N,3,6,6]")
    (total,) = (n for n in graph.nodes if n.op.name in ("sum", "sum_pool2d"))
    assert total.inputs[0].tensor.layout == "blocked_1"


def test_maps_side_by_side_stay_in_blocks_if_their_blocks_do() -> None:
    class Beside(nn.Module):
        def __init__(self, left: int, right: int) -> None:
            self.stem = nn.Conv(32, 1)
            self.left, self.right = nn.Conv(left, 3, padding=1), nn.Conv(right, 1)

        def __call__(self, x: nn.Tensor) -> nn.Tensor:
            x = self.stem(x)
            return nn.relu(nn.concat(self.left(x), self.right(x), axis=1))

    assert _layouts(_blocked(Beside(16, 32), "f32[N,3,5,5]"))["relu"] == {"blocked_1"}
    assert _layouts(_blocked(Beside(32, 8), "f32[N,3,5,5]"))["relu"] == {"batch_first"}


ROWS = {"low": (0, 0, 1, 2), "high": (0, 0, 0, 1)}
EVERYTHING = {"start": (0, 0, 0, 0), "stop": (None, None, None, None)}
VIEWS = {
    "a whole block": ("slice", {"start": (0, 16, 0, 0), "stop": (None, 32, None, None)}, True),
    "parts of blocks": ("slice", {"start": (0, 8, 0, 0), "stop": (None, 24, None, None)}, False),
    "every other channel": ("slice", {**EVERYTHING, "step": (1, 2, 1, 1)}, False),
    "every other row": ("slice", {**EVERYTHING, "step": (1, 1, 2, 1)}, True),
    "padding of rows": ("pad", ROWS, True),
    "a block of zeros": ("pad", {"low": (0, 16, 0, 0), "high": (0, 0, 0, 0)}, True),
    "a map of zeros": ("pad", {"low": (0, 1, 0, 0), "high": (0, 15, 0, 0)}, False),
    "rows turned round": ("reverse", {"axes": 2}, True),
    "channels turned round": ("reverse", {"axes": 1}, False),
    "channels behind": ("transpose", {"axes": (0, 2, 3, 1)}, False),
    "a sum over channels": ("sum", {"axes": 1}, True),
}


@pytest.mark.parametrize(("name", "attrs", "kept"), VIEWS.values(), ids=VIEWS)
def test_whole_blocks_are_read_where_they_lie(name: str, attrs: dict[str, Any], kept: bool) -> None:
    def net(x: nn.Tensor, w: nn.Tensor) -> nn.Tensor:
        return nn.tanh(getattr(nn, name)(nn.conv2d(x, w), **attrs))

    graph = BLOCKED(gc.trace(net, "f32[N,3,5,6]", "f32[32,3,1,1]"), [Verify(), Check()])
    (view,) = (n for n in graph.nodes if n.op.name == name)
    assert (view.inputs[0].tensor.layout == "blocked_1") is kept


def test_sums_over_neighbouring_channels_read_a_row_major_copy() -> None:
    net = nn.Sequential(nn.Conv(32, 3), nn.ReLU(), nn.LocalResponseNorm(5), nn.Conv(16, 3))
    found = _layouts(_blocked(net, "f32[N,3,9,9]"))
    assert found["moving_sum"] == {"batch_first"}
    assert found["conv2d"] == {"blocked_1"}


def test_inputs_and_outputs_stay_row_major() -> None:
    graph = _blocked(nn.Conv(16, 3), "f32[N,16,6,6]")
    assert {n.tensor.layout for n in (*graph.inputs, *graph.outputs)} == {"batch_first"}


def test_a_training_step_keeps_its_answers_and_its_parameters_row_major() -> None:
    net = nn.Sequential(
        nn.Conv(16, 3, padding=1), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2),
        nn.Conv(32, 3, stride=2, padding=1), nn.ReLU(), nn.GlobalAvgPool(), nn.Flatten(),
        nn.Dense(5),
    )  # fmt: skip
    optimizer = gc.optim.SGD(0.1, momentum=0.9)
    model = gc.Model(net, "f32[N,3,8,8]", "cross_entropy", optimizer, backend="numpy")
    graph = BLOCKED(PRIMITIVE(model.graphs["train"]), [Verify(), Check()])
    found = _layouts(graph)
    assert found["conv2d_weight_grad"] == {"blocked_0", "blocked_1_0"}
    assert found["conv2d_input_grad"] == {"blocked_1"}
    assert {o.tensor.layout for o in graph.outputs} == {"batch_first"}
    assert gc.parse(str(graph)) is graph


# -- which parts of a network ----------------------------------------------------------------------


def _wide(maps: int, window: int = 3) -> list[nn.Module]:
    return [nn.Conv(maps, window, padding=window // 2), nn.ReLU()]


NETWORKS = {
    "no maps in sixteens": (nn.Sequential(nn.Conv(24, 3), nn.Conv(8, 3)), 4, ""),
    "no convolution": (nn.Sequential(nn.Flatten(), nn.Dense(32)), 4, ""),
    "maps in sixteens": (nn.Sequential(nn.Conv(16, 3), nn.Conv(32, 3)), 4, "11"),
    "others in between": (nn.Sequential(nn.Conv(32, 3), nn.Conv(40, 3), nn.Conv(32, 3)), 4, "101"),
    "less work than copies": (nn.Sequential(nn.Conv(16, 1), nn.Conv(8, 3)), 4, "00"),
    "groups of sixteen": (nn.Conv(32, 3, groups=2), 4, "1"),
    "groups of eight": (nn.Conv(32, 3, groups=4), 4, "0"),
    "every map for itself": (nn.Sequential(nn.Conv(32, 3), nn.Conv(32, 3, groups=32)), 4, "11"),
    "many samples": (nn.Sequential(nn.Conv(32, 3), nn.Conv(48, 3)), 64, ""),
}


@pytest.mark.parametrize(("net", "batch", "blocks"), NETWORKS.values(), ids=NETWORKS)
def test_convolutions_in_blocks(net: Traced, batch: int, blocks: str) -> None:
    graph = PRIMITIVE(gc.trace(net, "f32[N,32,28,28]"))
    made = BlockChannels(batch=batch).run(graph)
    convolutions = [n for n in made.nodes if n.op.name == "conv2d"]
    found = "".join(str(int(bool(blocked_axes(n.tensor.layout)))) for n in convolutions)
    assert found.strip("0") == blocks.strip("0")
    assert (made is graph) is ("1" not in blocks)


# -- that answers stay, on machine code ------------------------------------------------------------

CONVOLUTIONS = {
    # channels, maps, window, image, attributes
    "3 channels": (3, 16, (3, 3), (7, 7), {"padding": 1}),
    "a large window": (3, 16, (7, 7), (13, 12), {"stride": 2, "padding": 3}),
    "one block each": (16, 16, (3, 3), (5, 6), {"padding": 1}),
    "several blocks": (48, 32, (5, 5), (6, 5), {"padding": 2}),
    "channels in no blocks": (24, 32, (3, 3), (5, 7), {}),
    "maps in no blocks": (32, 24, (3, 3), (5, 5), {}),
    "one pixel": (16, 48, (1, 1), (5, 3), {}),
    "one pixel, strided": (32, 16, (1, 1), (7, 5), {"stride": 2}),
    "strided": (16, 32, (3, 3), (8, 8), {"stride": 2, "padding": 1}),
    "strided, an odd image": (16, 32, (3, 3), (7, 9), {"stride": 2, "padding": 1}),
    "a stride above the window": (16, 16, (2, 2), (9, 7), {"stride": 3}),
    "dilated": (16, 16, (3, 3), (9, 7), {"dilation": 2, "padding": 2}),
    "dilated and strided": (16, 16, (3, 2), (9, 8), {"dilation": 2, "stride": 2, "padding": 1}),
    "not square": (16, 32, (2, 3), (6, 9), {"stride": (2, 1), "padding": (0, 1, 2, 1)}),
    "groups of blocks": (32, 32, (3, 3), (5, 5), {"groups": 2, "padding": 1}),
    "groups of half a block": (32, 32, (3, 3), (5, 5), {"groups": 4, "padding": 1}),
    "depthwise": (32, 32, (3, 3), (6, 5), {"groups": 32, "padding": 1}),
    "depthwise, strided": (16, 16, (3, 3), (6, 8), {"groups": 16, "stride": 2, "padding": 1}),
    "two maps a channel": (16, 32, (3, 3), (5, 5), {"groups": 16}),
    "many maps": (32, 64, (3, 3), (4, 6), {"padding": 1}),
}


@pytest.mark.parametrize("dtype", [DType.f32, DType.f64], ids=str)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_their_gradients_compute_what_they_mean(name: str, dtype: DType) -> None:
    graph = retype(_convolutions(*CONVOLUTIONS[name]), dtype)
    run = gc.compile(graph, "llvm", threads=2)
    for n in (1, 2, 3, 17):
        inputs = random_inputs(graph, n, np.random.default_rng(n))
        compare(graph, inputs, n, run(**inputs), what=f"{name}, batch {n}")


def _convolutions(
    channels: int, maps: int, window: tuple[int, int], size: tuple[int, int], attrs: dict[str, Any]
) -> Graph:
    """A convolution and both its gradients, with a bias and an activation."""
    each = channels // attrs.get("groups", 1)
    x = make_input("x", parse_type(f"f32[N,{channels},{size[0]},{size[1]}]"))
    w = make_input("w", parse_type(f"f32[{maps},{each},{window[0]},{window[1]}]"))
    b = make_input("b", parse_type(f"f32[{maps}]"))
    y = conv2d(x, w, **attrs)
    g = make_input("g", y.tensor)
    outputs = [
        relu(add(y, broadcast(b, shape=y.tensor.shape, axes=(1,)))),
        conv2d_input_grad(g, w, size=size, **attrs),
        conv2d_weight_grad(x, g, window=window, **attrs),
    ]
    return Graph("convolutions", [x, w, b, g], outputs)


class Mean(nn.Module):
    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        return nn.mean(x * x)


NARROW_AND_WIDE = {
    "widening": [*_wide(20, 5), nn.MaxPool(2), *_wide(64), *_wide(64), nn.Flatten(), nn.Dense(3)],
    "narrowing": [*_wide(64), *_wide(64), *_wide(20, 1), *_wide(20)],
    "wide in the middle": [*_wide(12), *_wide(64), *_wide(64), *_wide(12)],
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NARROW_AND_WIDE)
def test_wide_layers_are_in_blocks_and_narrow_ones_in_lanes_of_samples(
    name: str, training: bool
) -> None:
    graph = gc.trace(nn.Sequential(*NARROW_AND_WIDE[name], Mean()), "f32[N,3,24,24]")
    if training:
        graph = gc.grad(graph, wrt=[i.attrs["name"] for i in graph.inputs[1:]])
    passes = Pipeline((Winograd(batch=64), BlockChannels(batch=64), BatchLast()))
    made = passes(PRIMITIVE(graph), [Verify(), Check()])
    layouts = _layouts(made)
    assert "blocked_1" in layouts["winograd_output"] and "batch_last" in layouts["conv2d"]
    assert {"blocked_1", "batch_last"} <= layouts["relu"]
    ways = {(n.inputs[0].tensor.layout, n.tensor.layout) for n in made.nodes
            if n.op.name == "relayout" and n.tensor.rank == 4}  # fmt: skip
    assert ("batch_last", "blocked_1") in ways or ("blocked_1", "batch_last") in ways
    inputs = random_inputs(graph, 17, np.random.default_rng(0))
    found = gc.compile(graph, "llvm", threads=2)(**inputs)
    results = found if isinstance(found, tuple) else (found,)
    for value, exact in zip(results, interpret(graph, inputs, 17), strict=True):
        assert np.abs(value - exact).max() <= 1e-4 * np.abs(exact).max()
