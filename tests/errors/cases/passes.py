"""Passes: gradients, pipelines and their options, compression, dense layers as convolutions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.base.settings import DUMP
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import DType, N, parse_type
from graphc.ops.create import iota
from graphc.ops.elementwise import add, neg
from graphc.ops.optimizers import sgd_update
from graphc.ops.structure import fused, get
from graphc.passes.base import Pipeline
from graphc.passes.compress import CompressDense
from graphc.passes.conv_to_dense import ConvToDense
from graphc.passes.dense_to_conv import DenseToConv, dense_to_conv
from graphc.passes.instruments import from_settings
from graphc.passes.retype import Retype

SMALL, LARGE = "f32[N,2,6,6]", "f32[N,2,8,8]"
IMAGE, RATE = make_input("i", parse_type(SMALL)), make_input("r", parse_type("f32[]"), "state")
KERNEL = Graph("kernel", [RATE], [neg(RATE)])
DENSE = gc.trace(nn.Sequential(nn.Dense(7), nn.Dense(5)), "f32[N,9]")
WEIGHTS = {"0.weight": np.ones((7, 9)), "1.weight": np.ones((5, 7))}


def slid(net: Any) -> Graph:
    """The network on larger images."""
    return dense_to_conv(gc.trace(net, SMALL), {}, LARGE)[0]


def _with_several_results(folder: Path) -> object:
    updated = get(sgd_update(IMAGE, IMAGE, IMAGE, RATE, momentum=0.5), 0)
    return dense_to_conv(Graph("g", [IMAGE, RATE], [updated]), {}, LARGE)


def _with_places(folder: Path) -> object:
    places = iota(axis=3, shape=IMAGE.tensor.shape, dtype=DType.f32)
    return dense_to_conv(Graph("g", [IMAGE], [add(IMAGE, places)]), {}, LARGE)


def _dumped(folder: Path) -> Graph:
    (folder / "taken").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DUMP.variable, "taken")
        return Pipeline.parse("simplify")(DENSE, from_settings())


CASES = (
    # gradients
    lambda folder: gc.grad(gc.trace(lambda x: x * 2.0, "f32[N,3]"), ["x"]),
    lambda folder: gc.grad(gc.trace(lambda x: x + x, "i32[]"), ["x"]),
    lambda folder: gc.grad(lambda x: x * x),
    lambda folder: gc.grad(Graph("g", [RATE], [fused(KERNEL, RATE)]), ["r"]),
    # pipelines
    lambda folder: Pipeline.parse(["simplify"]),
    lambda folder: Pipeline.parse("simplify fuse"),
    lambda folder: Pipeline.parse("simplfy"),
    lambda folder: Pipeline.parse("simplify{rank=3}"),
    lambda folder: Pipeline.parse("compress_dense{rank=many}"),
    lambda folder: Retype("i32")(DENSE),
    # compression
    lambda folder: CompressDense(rank=2, energy=0.5)(DENSE),
    lambda folder: CompressDense(energy=0.5)(DENSE),
    lambda folder: CompressDense(budget=2, values=WEIGHTS)(DENSE),
    lambda folder: CompressDense(rank=1)(gc.trace(nn.ReLU(), "f32[N,9]")),
    lambda folder: CompressDense(rank=10)(gc.trace(nn.Sequential(nn.Dense(17)), "f32[N,23]")),
    lambda folder: CompressDense(rank=1, layer="2")(DENSE),
    lambda folder: CompressDense(energy=0.5, values={"0.weight": np.ones((7, 8))})(DENSE),
    # convolutions as dense layers, and back
    lambda folder: ConvToDense()(gc.trace(nn.Conv(64, 3), "f32[N,3,640,480]")),
    lambda folder: DenseToConv(height=8)(DENSE),
    lambda folder: dense_to_conv(gc.trace(nn.Conv(2, 3), SMALL), {}, "f32[N,2,8,5]"),
    lambda folder: slid(nn.Flatten()),
    _with_several_results,
    lambda folder: slid(nn.LocalResponseNorm()),
    lambda folder: slid(nn.Sequential(nn.Flatten(), nn.Dense(5), lambda x: x.T @ x)),
    lambda folder: slid(nn.Sequential(nn.Flatten(), lambda x: x.T)),
    lambda folder: slid(nn.ConvTranspose(4, 2)),
    lambda folder: slid(nn.Sequential(nn.Flatten(), nn.Residual(nn.Dense(72)))),
    lambda folder: slid(lambda x: x.sum((1, 2, 3))),
    lambda folder: slid(lambda x: x.reshape(N, 2, 36)),
    lambda folder: slid(lambda x: x - x.mean((2, 3), keepdims=True)),
    lambda folder: slid(lambda x: x.transpose(0, 1, 3, 2)),
    lambda folder: slid(lambda x: nn.reverse(x, axes=3)),
    lambda folder: slid(lambda x: nn.softmax(x, axis=3)),
    lambda folder: slid(nn.Concat(nn.MaxPool(2), nn.MaxPool(4, 1))),
    _with_places,
    # instruments
    _dumped,
)  # fmt: skip
