"""Ops: their builders, and `make`, the door through which the text of a graph comes."""

from __future__ import annotations

import numpy as np

from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, make
from graphc.ir.types import DType, N, parse_type
from graphc.ops import (
    activations,
    contractions,
    create,
    elementwise,
    losses,
    normalization,
    views,
    winograd,
)
from graphc.ops.contrast import local_contrast_norm
from graphc.ops.einsum import einsum
from graphc.ops.indexing import add_along_axis, take_along_axis
from graphc.ops.interpret import interpret
from graphc.ops.locally_connected import local_conv2d
from graphc.ops.op import Op
from graphc.ops.optimizers import rmsprop_update, sgd_update
from graphc.ops.pooling import (
    adaptive_avg_pool2d,
    avg_pool2d,
    l2_pool2d,
    max_pool2d,
    roi_max_pool,
    sum_unpool2d,
)
from graphc.ops.range_max import range_max, range_max_index
from graphc.ops.reductions import max, mean
from graphc.ops.regularization import dropout, sparsity
from graphc.ops.structure import fused, get
from graphc.ops.weight_pieces import conv2d_weight_grad_pieces


def t(type: str, name: str = "x") -> Node:
    """An input of the type."""
    return make_input(name, parse_type(type))


X, IMAGE, KEY = t("f32[N,3]"), t("f32[N,2,6,6]"), t("i32[]", "key")
WINDOW = {"window": (2, 2), "stride": (2, 2), "padding": (0, 0, 0, 0)}
PADDING = dict.fromkeys(("low", "high", "interior"), (1,))
INDEX = t("i32[N,4]", "index")
GRAPH = Graph("g", [X, t("f32[N,2]", "y")], [X])

CASES = (
    # the record
    lambda folder: Op("softmin", "layers", *[None] * 3),
    lambda folder: make("exp", (X,), {"base": 2}),
    lambda folder: make("full", (), {"value": 1.0, "dtype": "f32", "shape": ()}),
    lambda folder: make("exp", (X, X)),
    lambda folder: make("exp", (sgd_update(X, X, X, t("f32[]"), momentum=0.9),)),
    lambda folder: make("exp", (t("bf16[N,3]"),)),
    # elementwise
    lambda folder: elementwise.cast(INDEX, dtype=DType.bf16),
    lambda folder: make("add", (X, t("f32[N,1]"))),
    lambda folder: elementwise.add(X),
    lambda folder: elementwise.add(X, t("f64[N,3]")),
    lambda folder: elementwise.exp(t("i32[N]")),
    lambda folder: elementwise.add(1.0, 2.0),
    lambda folder: elementwise.where(X, 1.0, 2.0),
    lambda folder: elementwise.where(elementwise.less(X, 0.0), X, t("f64[N,3]")),
    lambda folder: elementwise.cast(X, dtype="f64"),
    lambda folder: activations.gelu(X, approximate="sigmoid"),
    # create
    lambda folder: elementwise.add(X, "1"),
    lambda folder: elementwise.add(X, 2**70),
    lambda folder: create.full(2**40, dtype=DType.i32),
    lambda folder: make("full", (), {"value": 1, "dtype": DType.f32, "shape": ()}),
    lambda folder: create.full(0.5, dtype=DType.i32),
    lambda folder: create.iota(axis=0, shape=(3,), dtype=DType.bool),
    lambda folder: create.random_uniform(X, shape=(3,)),
    # views
    lambda folder: views.broadcast(X, shape=(N, 3), axes=(1, 0)),
    lambda folder: views.broadcast(X, shape=(N, 4), axes=(0, 1)),
    lambda folder: make("transpose", (X,), {"axes": (0, 0)}),
    lambda folder: views.reverse(X, axes=0),
    lambda folder: views.slice(X, start=(0, 2), stop=(None, 2)),
    lambda folder: views.slice(X, start=(0,), stop=(None,)),
    lambda folder: make("pad", (t("i32[3]"),), PADDING | {"value": 0.5}),
    lambda folder: views.pad(X, low=(0, -4), high=(0, 0)),
    lambda folder: views.pad(X, low=(1,), high=(0,)),
    lambda folder: views.relayout(t("f32[3]"), layout="batch_last"),
    lambda folder: views.relayout(t("f32[N,24,3,3]"), layout="blocked_1"),
    lambda folder: views.reshape(t("f32[N,16,3,3]{blocked_1}"), shape=(N, 4, -1)),
    lambda folder: views.reshape(X, shape=(3,)),
    lambda folder: views.reshape(X, shape=(N, 4)),
    lambda folder: views.reshape(X, shape=(3, N)),
    lambda folder: views.reshape(X, shape=(N, 2, -1)),
    lambda folder: make("concat", (), {"axis": 0}),
    lambda folder: views.concat(X, IMAGE, axis=1),
    lambda folder: views.concat(axis=1),
    # reductions and indexing
    lambda folder: max(t("f32[0,3]"), axes=0),
    lambda folder: mean(t("f32[N,0]"), axes=1),
    lambda folder: take_along_axis(X, t("i64[N,2]"), axis=1),
    lambda folder: add_along_axis(X, INDEX, axis=1, shape=(N, 7)),
    lambda folder: range_max(X, INDEX, INDEX, axis=0),
    lambda folder: range_max(X, INDEX, t("i32[N,5]"), axis=1),
    lambda folder: range_max(t("f32[2,3]"), INDEX, INDEX, axis=1),
    lambda folder: range_max_index(X, X, INDEX, INDEX, axis=1),
    # contractions
    lambda folder: contractions.matmul(X, X),
    lambda folder: contractions.matmul(X, IMAGE),
    lambda folder: contractions.conv2d(t("f32[1,2,N,6]"), t("f32[4,2,3,3]")),
    lambda folder: contractions.conv2d(t("f32[2,N,6,6]"), t("f32[4,2,3,3]")),
    lambda folder: contractions.conv2d(IMAGE, t("f32[4,2,3,3]"), groups=3),
    lambda folder: contractions.conv2d(IMAGE, t("f32[4,3,3,3]")),
    lambda folder: contractions.conv2d(X, t("f32[4,2,3,3]")),
    lambda folder: contractions.conv2d_input_grad(IMAGE, t("f32[2,1,3,3]"), size=(5, 5)),
    lambda folder: contractions.conv2d_weight_grad(IMAGE, IMAGE, window=(3, 3)),
    lambda folder: conv2d_weight_grad_pieces(IMAGE, IMAGE, window=(1, 1), pieces=5),
    lambda folder: einsum(X, X, subscripts="ij,jk->"),
    lambda folder: einsum(X, IMAGE, subscripts="ij,jk->ik"),
    lambda folder: einsum(X, t("f32[4,2]"), subscripts="ij,jk->ik"),
    lambda folder: winograd.winograd_input(X, tiles=(1, 1), padding=(0, 0)),
    lambda folder: winograd.winograd_output(IMAGE),
    lambda folder: winograd.winograd_weights(t("f32[4,2,5,5]")),
    lambda folder: winograd.winograd_weights_grad(t("f32[4,2,3,3]")),
    lambda folder: local_conv2d(IMAGE, t("f32[4,2,3,3]")),
    lambda folder: local_conv2d(IMAGE, t("f32[3,4,1,2,3,3]")),
    # pooling
    lambda folder: max_pool2d(X, window=2),
    lambda folder: avg_pool2d(IMAGE, window=2, padding=2),
    lambda folder: sum_unpool2d(IMAGE, size=(8, 8), **WINDOW),
    lambda folder: make("max_pool2d_index", (IMAGE, IMAGE), WINDOW),
    lambda folder: make("max_pool2d_take", (t("i32[N,2,6,6]"), IMAGE), WINDOW),
    lambda folder: adaptive_avg_pool2d(t("f32[N,2,0,6]"), size=2),
    lambda folder: l2_pool2d(IMAGE, window=2, maps=3),
    lambda folder: roi_max_pool(IMAGE, t("f32[N,5]"), size=2),
    lambda folder: roi_max_pool(t("f32[1,2,6,6]"), t("f32[N,4]"), size=2),
    lambda folder: roi_max_pool(t("f32[1,2,6,6]"), t("f32[N,5]"), size=2, scale=0.0),
    # normalization and regularization
    lambda folder: normalization.standardize(X, axes=()),
    lambda folder: normalization.standardize(X, axes=1, eps=-1.0),
    lambda folder: normalization.moving_sum(X, axis=0, low=1, high=1),
    lambda folder: normalization.batch_norm(t("f32[N]"), t("f32[3]"), t("f32[3]", "bias")),
    lambda folder: normalization.batch_norm(t("f32[N,3,0]"), t("f32[3]"), t("f32[3]", "bias")),
    lambda folder: normalization.batch_norm(X, t("f32[2]"), t("f32[3]", "bias")),
    lambda folder: normalization.local_response_norm(t("f32[3]")),
    lambda folder: local_contrast_norm(X),
    lambda folder: local_contrast_norm(IMAGE, window=4),
    lambda folder: local_contrast_norm(IMAGE, sigma=0.0),
    lambda folder: dropout(X, X, rate=0.5),
    lambda folder: dropout(X, KEY, rate=1.0),
    lambda folder: dropout(X, KEY, rate=1 - 1e-9),
    lambda folder: sparsity(t("f32[]")),
    lambda folder: sparsity(X, rho=0.0),
    # losses
    lambda folder: losses.mean_squared_error(t("f32[N,0]"), t("f32[N,0]", "y")),
    lambda folder: losses.softmax_cross_entropy(t("f32[N,0]"), t("i32[N]")),
    lambda folder: losses.softmax_cross_entropy(X, t("i32[N,3]")),
    lambda folder: losses.hinge(X, t("i32[N]"), form="cubed"),
    lambda folder: losses.hinge(X, t("f32[N]")),
    lambda folder: losses.hinge(t("f32[N,0]"), t("i32[N]")),
    lambda folder: losses.box_regression(X, t("i32[N]"), t("f32[N,4]"), first=1),
    lambda folder: losses.box_regression(t("f32[N,8]"), t("i32[N]"), t("f32[N,4]"), first=2),
    lambda folder: losses.multi_task(X, t("f32[N,7]"), t("i32[N]"), t("f32[N,4]")),
    lambda folder: losses.pair_distance(X, t("f32[N,4]")),
    lambda folder: losses.contrastive(X, t("i32[N]")),
    lambda folder: losses.smooth_l1(X, X, beta=-1.0),
    lambda folder: losses.squared_error(X, t("f32[N,4]")),
    lambda folder: losses.squared_error(t("f32[]"), t("f32[]")),
    # updates and structure
    lambda folder: rmsprop_update(X, X, X, momentum=0.9),
    lambda folder: sgd_update(X, t("f32[3]"), X, t("f32[]"), momentum=0.9),
    lambda folder: get(sgd_update(X, X, X, t("f32[]"), momentum=0.9), 2),
    lambda folder: fused(GRAPH, X, X),
    # the interpreter
    lambda folder: interpret(GRAPH, {"x": np.zeros((2, 3))}),
    lambda folder: interpret(GRAPH, {"x": np.zeros((2, 3)), "y": np.zeros((4, 2))}),
    lambda folder: interpret(GRAPH, {"x": np.zeros(3), "y": np.zeros((4, 2))}),
)  # fmt: skip
