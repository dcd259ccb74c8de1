"""Sums of many numbers to few results in two steps: what is split, how, that it means the same."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import parse_type
from graphc.ops.contractions import conv2d_weight_grad
from graphc.ops.interpret import interpret
from graphc.ops.reductions import max, sum
from graphc.passes.split_reductions import SplitReductions
from graphc.testing import Expectation, random_inputs


def reduced(type: str, axes: tuple[int, ...]) -> Graph:
    x = make_input("x", parse_type(type))
    return Graph("sums", [x], [sum(x, axes=axes), max(x, axes=axes, keepdims=True)])


def weight_grad(channels: int, side: int, groups: int = 1) -> Graph:
    x = make_input("x", parse_type(f"f32[N,{channels},{side},{side}]"))
    g = make_input("g", x.tensor)
    out = conv2d_weight_grad(x, g, window=(3, 3), padding=1, groups=groups)
    return Graph("weight_grad", [x, g], [out])


@pytest.mark.parametrize(
    ("type", "axes", "first"),
    [
        ("f32[N,64,56,56]", (0, 2, 3), (2, 3)),  # each sample by itself: 64 maps of it
        ("f32[N,3,224,224]", (0, 2, 3), (3,)),  # and each row, for there are only three maps
        ("f32[512,512,3,3]", (0, 1, 2, 3), (1, 2, 3)),  # not each number by itself
        ("f32[N,1000]", (0, 1), (1,)),
    ],
)
def test_outer_axes_wait(type: str, axes: tuple[int, ...], first: tuple[int, ...]) -> None:
    after = SplitReductions()(reduced(type, axes))
    for output in after.outputs:
        (inner,) = output.inputs
        assert output.op is inner.op
        assert (inner.attrs["axes"], inner.attrs["keepdims"]) == (first, True)
    gc.verify(after)


@pytest.mark.parametrize(
    "graph",
    [
        reduced("f32[N,1000]", (1,)),
        reduced("f32[N,4096]", (0,)),
        reduced("f32[N,10,7,7]", (0, 2, 3)),
        weight_grad(512, 7),
        weight_grad(4, 1),
    ],
    ids=["rows", "columns", "little", "enough tiles", "one row"],
)
def test_what_is_small_stays(graph: Graph) -> None:
    assert SplitReductions()(graph) is graph


def test_a_second_time_changes_nothing() -> None:
    once = SplitReductions()(weight_grad(64, 28))
    assert SplitReductions()(once) is once


@pytest.mark.parametrize(("channels", "groups", "pieces"), [(64, 1, 28), (64, 2, 28), (128, 1, 14)])
def test_weight_gradients_are_sums_of_pieces(channels: int, groups: int, pieces: int) -> None:
    (total,) = SplitReductions()(weight_grad(channels, 28, groups)).outputs
    assert total.op.name == "sum"
    (parts,) = total.inputs
    assert parts.op.name == "conv2d_weight_grad_pieces"
    assert parts.attrs["pieces"] == pieces


@pytest.mark.parametrize("graph", [reduced("f32[N,8,30,30]", (0, 2, 3)), weight_grad(8, 12, 2)])
def test_the_meaning_is_the_same(graph: Graph) -> None:
    after = SplitReductions()(graph)
    assert after is not graph
    inputs = random_inputs(graph, 2, np.random.default_rng(0))
    Expectation(graph, inputs, 2).check(interpret(after, inputs, 2), "split")
