"""Types, nodes, graphs and their text, and the settings they are built under."""

from __future__ import annotations

from pathlib import Path

import pytest

import graphc as gc
from graphc.base.settings import NUM_THREADS
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import make
from graphc.ir.text import parse
from graphc.ir.types import N, TensorType, normalize_axes, parse_type, whole_numbers
from graphc.ops.elementwise import add, exp
from graphc.ops.optimizers import sgd_update


def _input(name: str, type: str) -> gc.ir.node.Node:
    return make_input(name, parse_type(type))


def _threads(folder: Path) -> int | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NUM_THREADS.variable, "-1")
        return NUM_THREADS.integer()


def _graph(line: str, returned: str = "%y") -> str:
    return f"graph g(%x: f32[N,3]) {{ {line} return {returned} }}"


X, Y = _input("x", "f32[N,3]"), _input("y", "f64[N,3]")
SCALARS = [_input(name, "f32[]") for name in "wgvl"]
GRAPH = Graph("g", [X], [exp(X)])
LINE = "%y = exp(%x) : f32[N,3]"

CASES = (
    # settings
    _threads,
    # types
    lambda folder: TensorType(X.tensor.dtype, (3,), "nchw"),
    lambda folder: TensorType(X.tensor.dtype, (N, N)),
    lambda folder: TensorType(X.tensor.dtype, (2**31,)),
    lambda folder: TensorType(X.tensor.dtype, (2**30, 2**11)),
    lambda folder: parse_type("f32(3)"),
    lambda folder: parse_type("f32[3,M]"),
    lambda folder: whole_numbers((1, 2.5), "sizes"),
    lambda folder: normalize_axes(3, 2, "sum"),
    lambda folder: normalize_axes((0, -2), 2, "sum"),
    lambda folder: add(X, _input("z", "f32[N,4]")),
    lambda folder: gc.trace(gc.nn.MaxPool(5), "f32[N,1,4,4]"),
    # nodes
    lambda folder: make("softmin", (X,)),
    lambda folder: sgd_update(*SCALARS, momentum=0.5).tensor,
    lambda folder: make("full", (), {"value": [1], "dtype": X.tensor.dtype, "shape": ()}),
    lambda folder: make("full", (), {"value": 1.0, "dtype": X.tensor.dtype, "shape": ("a",)}),
    lambda folder: make("transpose", (X,), {"axes": (0, "a")}),
    # graphs
    lambda folder: make_input("z", X.tensor, "weight"),
    lambda folder: setattr(GRAPH, "name", "other"),
    lambda folder: Graph("g", [exp(X)], [X]),
    lambda folder: Graph("g", [X, _input("x", "f32[3]")], [X]),
    lambda folder: Graph("g", [X], [Y]),
    lambda folder: Graph("g", [X], []),
    lambda folder: Graph("g", [X], [exp(X), exp(X)], [(0, 0), (1, 0)]),
    lambda folder: Graph("g", [X, Y], [exp(X)], [(0, 1)]),
    lambda folder: Graph("g", [X], [exp(X)], [(1, 0)]),
    lambda folder: GRAPH.input_named("z"),
    # text
    lambda folder: parse(GRAPH),
    lambda folder: parse("graph g(%x: f32[N,3]) { return %x; }"),
    lambda folder: parse("graph g(%x f32[N,3]) { return %x }"),
    lambda folder: parse("graph"),
    lambda folder: parse("graph '\\UFFFFFFFF'() { }"),
    lambda folder: parse(_graph(LINE, "%y into %y")),
    lambda folder: parse(_graph(LINE, "%z")),
    lambda folder: parse(_graph(LINE + LINE)),
    lambda folder: parse(_graph("%y = exp(%x) : f32[N,4]")),
    lambda folder: parse(_graph("%y = exp(%x) {a=" + 65 * "1" + "} : f32[N,3]")),
    lambda folder: parse(_graph("%y = exp(%x) {a=" + 40 * "(" + "} : f32[N,3]")),
    lambda folder: parse(_graph("%y = exp(%x) {a=:} : f32[N,3]")),
    lambda folder: parse(_graph("%y = exp(%x) {a=true} : f32[N,3]")),
    lambda folder: parse(_graph("%y = exp(%x, %x) : f32[N,3]")),
)
