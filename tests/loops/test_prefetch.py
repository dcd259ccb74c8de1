"""What the epilogue of a sum reads is asked for before the sum."""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc.loops.lower import lower
from graphc.loops.schedule import Machine
from graphc.passes.base import Pipeline

FUSE = Pipeline.parse("decompose,simplify,fuse")
SHAPES = ("f32[12,5]", "f32[5,40]")


def loops(function, *types: str) -> str:
    (node,) = FUSE(gc.trace(function, *types)).outputs
    return str(lower(node, Machine(64, 32)))


def test_an_update_asks_for_its_weights_before_the_gradient_is_summed() -> None:
    text = loops(lambda w, a, b: w - 0.1 * (a @ b), "f32[12,40]", *SHAPES)
    assert text.count("prefetch in2") == text.count("+=") > 0
    assert text.index("prefetch in2") < text.index("+=")


def test_a_bias_and_the_operands_are_not_asked_for() -> None:
    assert "prefetch" not in loops(lambda b, a, x: a @ x + b, "f32[40]", *SHAPES)


def test_it_changes_no_result_whatever_the_shape() -> None:
    def update(w, a, b):
        return w * w - a @ b

    w, a, b = np.random.default_rng(0).standard_normal((3, 37, 37), np.float32)
    graph = gc.trace(update, *["f32[37,37]"] * 3)
    np.testing.assert_allclose(gc.compile(graph, "llvm")(w, a, b), w * w - a @ b, atol=1e-4)
