"""Another float dtype keeps the meaning, and random bits stay what they are."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import OPERATORS
from graphc.ir.types import DType, TensorType, parse_type
from graphc.ops.elementwise import exp
from graphc.ops.interpret import interpret
from graphc.ops.op import Op
from graphc.ops.structure import fused
from graphc.passes.base import Pipeline
from graphc.passes.retype import retype

OPS = [o for o in OPERATORS.values() if isinstance(o, Op) and o.samples]


@pytest.mark.parametrize("op", OPS, ids=lambda o: o.name)
def test_every_op_retypes(op: Op) -> None:
    for sample in (s for s in op.samples if s.raises is None):
        inputs = [make_input(f"i{k}", parse_type(t)) for k, t in enumerate(sample.types)]
        node = op.build(*inputs, **sample.attrs)
        if not isinstance(node.type, TensorType):
            continue
        wide = retype(Graph(op.name, inputs, [node]))
        assert not any(DType.f32 is n.tensor.dtype for n in wide if n.op.name != "random_uniform")
        assert retype(retype(wide, DType.f32)) is wide


def test_the_value_stays_but_for_rounding() -> None:
    graph = gc.trace(lambda x: (x * 3.0 + 1.0).sum(), "f32[N,3]")
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    (single,), (double,) = (interpret(g, {"x": x}) for g in (graph, retype(graph)))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, rtol=1e-6)


def test_bodies_of_kernels_are_retyped_too() -> None:
    x = make_input("x", parse_type("f32[N]"))
    graph = Graph("g", [x], [fused(Graph("body", [x], [exp(x)]), x)])
    assert "f32" not in str(retype(graph))
    (value,) = interpret(retype(graph), {"x": np.array([0.1, 0.2])})
    np.testing.assert_array_equal(value, np.exp([0.1, 0.2]))


def test_a_graph_of_that_dtype_is_the_same_object() -> None:
    graph = gc.trace(lambda x: x + 1.0, "f64[N,3]")
    assert retype(graph) is graph


def test_the_pass_takes_the_name_of_a_float() -> None:
    graph = gc.trace(lambda x: x + 1.0, "f32[N,3]")
    assert Pipeline.parse("retype")(graph) is retype(graph)
    assert Pipeline.parse("retype{dtype=f32}")(graph) is graph
    with pytest.raises(GraphcError, match="'i32' is not a float dtype"):
        Pipeline.parse("retype{dtype=i32}")(graph)
