"""What layouts cost against plain counting, and the choice between them against all others."""

from __future__ import annotations

from itertools import product
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphc as gc
from graphc import nn
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import parse_type
from graphc.ops.contractions import conv2d, conv2d_input_grad
from graphc.ops.interpret import interpret
from graphc.passes.base import Pipeline
from graphc.passes.choose_layouts import nodes_in_blocks
from graphc.passes.decompose import Decompose
from graphc.passes.layout_costs import (
    FAR,
    FUSED,
    MOVED,
    START,
    in_channels,
    in_rows,
    in_samples,
    in_tiles,
    products,
    tiles_share,
)
from graphc.passes.simplify import Simplify

WINDOWS = st.tuples(
    st.integers(1, 4), st.integers(1, 2), st.integers(0, 3), st.integers(1, 2)
)  # taps, stride, padding, dilation


def _convolution(
    size: int, window: tuple[int, int, int, int], channels: int = 2, maps: int = 3
) -> Node:
    taps, stride, padding, dilation = window
    x = make_input("x", parse_type(f"f32[N,{channels},{size},{size}]"), kind="data")
    w = make_input("w", parse_type(f"f32[{maps},{channels},{taps},{taps}]"), kind="data")
    return conv2d(x, w, stride=stride, padding=padding, dilation=dilation)


@given(st.integers(7, 12), WINDOWS)
@settings(max_examples=40, deadline=None)
def test_products_are_those_that_a_convolution_of_ones_adds_up(
    size: int, window: tuple[int, int, int, int]
) -> None:
    node = _convolution(size, window)
    ones = {i.attrs["name"]: np.ones(i.tensor.concrete(1), "f") for i in node.inputs}
    (sums,) = interpret(Graph("ones", tuple(node.inputs), (node,)), ones)
    assert in_samples(node) == pytest.approx(sums.sum()), "those with padding never run"
    assert products(node) == sums.size * 2 * window[0] ** 2
    assert in_rows(node) >= products(node) >= in_samples(node)


@pytest.mark.parametrize("maps, channels", [(0, 2), (2, 0)])
def test_nothing_costs_nothing(maps: int, channels: int) -> None:
    node = _convolution(8, (3, 2, 0, 1), channels, maps)
    assert in_rows(node) == in_samples(node) == products(node) == 0


def test_rows_beyond_the_second_cache_cost_more() -> None:
    near, far = (_convolution(32, (3, 1, 0, 1), channels) for channels in (64, 128))
    assert in_samples(near) == products(near)  # 3 rows x 32 pixels x 64 channels x 64 bytes: 393 KB
    assert in_samples(far) == FAR * products(far)


def test_blocks_are_for_whole_blocks_of_maps() -> None:
    assert in_channels(_convolution(8, (3, 1, 1, 1), 16, 24)) is None
    node = _convolution(8, (3, 1, 1, 1), 3, 32)
    cost = in_channels(node)
    assert cost is not None and products(node) < cost < 1.1 * products(node)
    w, g = node.inputs[1], make_input("g", node.tensor, kind="data")
    gradient = conv2d_input_grad(g, w, size=(8, 8), stride=1, padding=1)
    assert in_channels(gradient) is None, "three channels of the result are no block"


def test_tiles_need_a_quarter_of_the_products_and_memory() -> None:
    """F(4x4, 3x3) multiplies 36 times for 16 results, which take 144 products: a quarter."""

    def share(channels: int, size: int = 16) -> float:
        found = in_tiles(_convolution(size, (3, 1, 1, 1), channels, channels))
        assert found is not None
        return found

    shares = [share(channels) for channels in (16, 64, 256, 1024)]
    assert shares == sorted(shares, reverse=True) and shares[0] > 1
    assert 0.25 < share(1 << 16, 256) < 0.26
    assert share(256, 14) > share(256, 16), "tiles reach beyond images of 14 x 14"
    assert in_tiles(_convolution(16, (3, 2, 1, 1), 16, 16)) is None
    assert in_tiles(_convolution(16, (5, 1, 1, 1), 16, 16)) is None


# -- the choice ------------------------------------------------------------------------------------


def _chain(widths: list[int], size: int, rectified: list[bool]) -> Graph:
    """3x3 convolutions without padding, rectified or not."""
    layers: list[nn.Layer] = []
    for width, active in zip(widths, rectified, strict=True):
        layers += [nn.Conv(width, 3, bias=False)] + [nn.ReLU()] * active
    traced = gc.trace(nn.Sequential(*layers), f"f32[N,{widths[0]},{size},{size}]")
    return Pipeline((Decompose(), Simplify()))(traced)


def _cost(graph: Graph, chosen: frozenset[Node], batch: int) -> float:
    """What a chain costs for many samples, counted node by node."""
    total = 0.0
    for node in graph.nodes:
        if node.op.name not in ("conv2d", "relu"):
            continue
        blocks = node in chosen
        if node.op.name == "conv2d":
            direct, share = in_channels(node), tiles_share(node)
            inside = inf if direct is None else direct if share is None else share * products(node)
            total += inside if blocks else in_samples(node)
        read = node.inputs[0]
        copy = MOVED * read.tensor.count(1) + START / batch
        if read.op.name == "input":  # lies in rows: read so by blocks of few channels
            whole = read.tensor.shape[1] % 16 == 0  # type: ignore[operator]
            total += copy if whole or not blocks else 0.0
        elif blocks != (read in chosen):
            total += copy  # to blocks, to lanes of samples, or to rows for blocks of maps
            if node.op.name == "relu":
                total += FUSED / MOVED * copy
    return total


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_no_other_choice_costs_less(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 4))
    width = st.sampled_from([3, 16, 24, 32, 64, 128])
    widths = data.draw(st.lists(width, min_size=length, max_size=length))
    rectified = data.draw(st.lists(st.booleans(), min_size=length, max_size=length))
    batch = data.draw(st.sampled_from([16, 64]))
    graph = _chain(widths, data.draw(st.sampled_from([14, 28])), rectified)
    nodes = [n for n in graph.nodes if n.op.name in ("conv2d", "relu")]
    chosen = nodes_in_blocks(graph, batch, tiles=True)
    every = [
        _cost(graph, frozenset(n for n, taken in zip(nodes, each, strict=True) if taken), batch)
        for each in product((False, True), repeat=len(nodes))
    ]
    assert _cost(graph, chosen, batch) == pytest.approx(min(every), rel=1e-3)


def test_a_chain_may_be_on_both_sides() -> None:
    graph = _chain([8, 64, 64, 8], 28, [True] * 4)
    chosen = nodes_in_blocks(graph, 64, tiles=True)
    nodes = [n for n in graph.nodes if n.op.name in ("conv2d", "relu")]
    assert [n in chosen for n in nodes] == [False, False, True, True, True, True, False, False]
