"""Layouts: which there are, which shapes they fit, and what is computed from which."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc.base.errors import GraphcError
from graphc.ir.graph import make_input
from graphc.ir.layouts import blocked_axes, common, is_layout
from graphc.ir.types import N, parse_type
from graphc.ops import contractions, elementwise, pooling, reductions, views

FITTING = (
    ("f32[N,6,28,28]", "batch_last"),
    ("f32[3,N]", "batch_last"),
    ("f32[N,32,7,7]", "blocked_1"),
    ("f64[4,16,5]", "blocked_1"),
    ("f32[64,48,3,3]", "blocked_1_0"),
    ("f32[64,48,3,3]", "blocked_0_1"),
    ("f32[32,3,11,11]", "blocked_0"),
    ("f32[N,96]", "features_1_6"),
    ("f32[96,N]", "features_0_6"),
    ("f32[10,9216]", "features_1_36"),
)
UNFITTING = (
    ("f32[6,28,28]", "batch_last", "no batch"),
    ("f32[N,6,28,28]", "blocked_1", "no multiple of 16"),
    ("f32[N,0,28,28]", "blocked_1", "empty"),
    ("f32[N,32]", "blocked_1", "a matrix"),
    ("f32[N,3,32]", "blocked_3", "no such axis"),
    ("f32[N,32,3,3]", "blocked_0", "the batch in blocks"),
    ("f32[4,32,N]", "blocked_1", "the batch not outermost"),
    ("f32[64,3,3,3]", "blocked_1_0", "one of two axes"),
    ("f32[N,90]", "features_1_6", "no whole blocks of channels"),
    ("f32[N,96]", "features_1_1", "one pixel"),
    ("f32[N,96]", "features_0_6", "the batch as features"),
    ("f32[N,96,2]", "features_1_6", "no matrix"),
)


@pytest.mark.parametrize(("shape", "layout"), FITTING)
def test_a_type_says_how_it_is_stored_and_reads_back(shape: str, layout: str) -> None:
    type = parse_type(shape).with_layout(layout)
    assert str(type) == f"{shape}{{{layout}}}"
    assert parse_type(str(type)) == type != parse_type(shape)
    assert type.with_layout("batch_first") == parse_type(shape)


@pytest.mark.parametrize(("shape", "layout", "why"), UNFITTING, ids=[u[2] for u in UNFITTING])
def test_what_does_not_fit_is_row_major_or_refused(shape: str, layout: str, why: str) -> None:
    assert parse_type(shape).with_layout(layout) == parse_type(shape)
    with pytest.raises(GraphcError, match=f"cannot be stored {layout}"):
        parse_type(f"{shape}{{{layout}}}")
    with pytest.raises(GraphcError, match=f"cannot be stored {layout}"):
        views.relayout(make_input("x", parse_type(shape)), layout=layout)


@pytest.mark.parametrize(
    "name", ["nchw", "blocked", "blocked_", "blocked_1_1", "blocked_١", "features_2_4", 1]
)
def test_other_layouts_there_are_not(name: str) -> None:
    assert not is_layout(name)
    with pytest.raises(GraphcError, match="there is no layout"):
        views.relayout(make_input("x", parse_type("f32[N,16,3,3]")), layout=name)


def test_axes_in_blocks_are_named_outermost_first() -> None:
    assert blocked_axes("blocked_1") == (1,)
    assert blocked_axes("blocked_1_0") == (1, 0)
    assert blocked_axes("batch_first") == blocked_axes("batch_last") == ()


@pytest.mark.parametrize(
    ("layouts", "result"),
    [
        ((), "batch_first"),
        (("batch_first", "batch_first"), "batch_first"),
        (("batch_first", "blocked_1"), "blocked_1"),
        (("blocked_0", "blocked_1"), "blocked_0"),
        (("blocked_1", "batch_first", "batch_last"), "batch_last"),
    ],
)
def test_a_result_is_stored_like_what_it_is_computed_from(
    layouts: tuple[str, ...], result: str
) -> None:
    assert common(layouts) == result


X = make_input("x", parse_type("f32[N,32,8,8]{blocked_1}"))
G = make_input("g", parse_type("f32[N,48,8,8]{blocked_1}"))
IMAGE = make_input("image", parse_type("f32[N,3,8,8]"))
WEIGHTS = make_input("weights", parse_type("f32[48,32,3,3]{blocked_1_0}"))
FEATURES = views.reshape(X, shape=(N, 2048))
DENSE = make_input("dense", parse_type("f32[10,2048]{features_1_64}"))
SCORES = make_input("scores", parse_type("f32[N,10]"))
RESULTS = {
    "images flattened": (FEATURES, "f32[N,2048]{features_1_64}"),
    "images of one pixel flattened": (
        views.reshape(make_input("p", parse_type("f32[N,32,1,1]{blocked_1}")), shape=(N, 32)),
        "f32[N,32]",
    ),
    "features turned round": (views.transpose(FEATURES), "f32[2048,N]{features_0_64}"),
    "a product that sums features": (
        contractions.matmul(FEATURES, views.transpose(DENSE)), "f32[N,10]",
    ),
    "a gradient of features": (contractions.matmul(SCORES, DENSE), "f32[N,2048]{features_1_64}"),
    "a gradient of weights of features": (
        contractions.matmul(views.transpose(SCORES), FEATURES), "f32[10,2048]{features_1_64}",
    ),
    "images of features": (
        views.reshape(contractions.matmul(SCORES, DENSE), shape=(N, 32, 8, 8)),
        "f32[N,32,8,8]{blocked_1}",
    ),
    "elementwise code": (elementwise.relu(X), "f32[N,32,8,8]{blocked_1}"),
    "a pooling": (pooling.max_pool2d(X, window=2), "f32[N,32,4,4]{blocked_1}"),
    "a sum over pixels": (reductions.sum(X, axes=(2, 3)), "f32[N,32]"),
    "a convolution": (contractions.conv2d(X, WEIGHTS, padding=1), "f32[N,48,8,8]{blocked_1}"),
    "a convolution of a row-major image": (
        contractions.conv2d(IMAGE, make_input("w", parse_type("f32[16,3,3,3]{blocked_0}"))),
        "f32[N,16,6,6]{blocked_1}",
    ),
    "a gradient of an image": (
        contractions.conv2d_input_grad(G, WEIGHTS, size=(8, 8), padding=1),
        "f32[N,32,8,8]{blocked_1}",
    ),
    "a gradient of weights": (
        contractions.conv2d_weight_grad(X, G, window=(3, 3), padding=1),
        "f32[48,32,3,3]{blocked_1_0}",
    ),
    "a gradient of weights for three channels": (
        contractions.conv2d_weight_grad(IMAGE, G, window=(3, 3), padding=1),
        "f32[48,3,3,3]{blocked_0}",
    ),
    "part of a block": (
        views.slice(X, start=(0, 0, 0, 0), stop=(None, 24, None, None)), "f32[N,24,8,8]",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("node", "type"), RESULTS.values(), ids=RESULTS)
def test_results_of_images_in_blocks(node: gc.ir.node.Node, type: str) -> None:
    assert str(node.type) == type


def test_the_text_of_a_graph_with_blocks_reads_back() -> None:
    graph = gc.ir.graph.Graph("g", [X, WEIGHTS], [elementwise.relu(RESULTS["a convolution"][0])])
    assert "%weights: f32[48,32,3,3]{blocked_1_0}" in str(graph)
    assert gc.parse(str(graph)) is graph


def test_there_and_back_is_the_very_node() -> None:
    x = make_input("x", parse_type("f32[N,32,8,8]"))
    assert views.relayout(views.relayout(x, layout="blocked_1"), layout="batch_first") is x
