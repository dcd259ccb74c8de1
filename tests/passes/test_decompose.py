"""Decomposition: no layer is left, and every layer still means what it meant."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.base.source import Location, written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import OPERATORS, make
from graphc.ir.types import TupleType, parse_type
from graphc.ops.interpret import interpret
from graphc.ops.op import Op, family_of
from graphc.ops.structure import get
from graphc.passes.decompose import Decompose, decomposed

LAYERS = [o for o in OPERATORS.values() if isinstance(o, Op) and o.decompose is not None]


@pytest.mark.parametrize("op", LAYERS, ids=lambda o: o.name)
def test_no_layer_is_left_and_the_value_stays(op: Op) -> None:
    rng = np.random.default_rng(0)
    samples = [s for s in op.samples if s.raises is None]
    assert samples
    for sample in samples:
        inputs = [make_input(f"i{k}", parse_type(t)) for k, t in enumerate(sample.types)]
        node = op.build(*inputs, **sample.attrs)
        several = isinstance(node.type, TupleType)
        outputs = [get(node, k) for k in range(len(node.type.elements))] if several else [node]
        graph = Graph(op.name, inputs, outputs)
        primitive = Decompose()(graph)
        assert Decompose()(primitive) is primitive
        assert "layer" not in {family_of(n) for n in primitive}
        arrays = {
            i.attrs["name"]: np.asarray(
                rng.uniform(0.1, 2.9, i.tensor.concrete(2)), i.tensor.dtype.numpy
            )
            for i in inputs
        }
        before, after = (interpret(g, arrays, 2) for g in (graph, primitive))
        for a, b in zip(before, after, strict=True):
            np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6)


def test_a_graph_without_layers_is_the_same_object() -> None:
    graph = gc.trace(lambda x: x.sum() + 1.0, "f32[N,3]")
    assert Decompose()(graph) is graph


def test_the_primitives_are_written_where_the_layer_was() -> None:
    x = make_input("x", parse_type("f32[N,13]"))
    with written_at(Location("net.py", 3), "layer 2"):
        node = make("softmax", (x,), {"axis": 1})
    found = decomposed(node)
    assert (found.location, found.origin) == (Location("net.py", 3), "layer 2")


def test_donations_stay() -> None:
    graph = gc.parse(
        """graph step(%x: f32[3], %w: parameter f32[3]) {
          %y = softmax(%x) {axis=0} : f32[3]
          return %y into %w
        }"""
    )
    assert Decompose()(graph).donations == ((0, 1),)
