"""Shape reports fill in the window formula, and the pass proves types again."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc.base.errors import InternalError
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, make
from graphc.ir.types import parse_type
from graphc.ops.contractions import conv2d, conv2d_weight_grad
from graphc.ops.elementwise import exp
from graphc.ops.pooling import avg_pool2d, max_pool2d
from graphc.passes.shapes import InferShapes, infer_shapes, window_formula

IMAGE = make_input("image", parse_type("f32[N,3,32,27]"))
KERNEL = make_input("kernel", parse_type("f32[8,3,5,3]"))

FORMULAS = {
    "convolution": (conv2d(IMAGE, KERNEL), "(32 - 5 + 0)/1 + 1 = 28 and (27 - 3 + 0)/1 + 1 = 25"),
    "stride, padding, dilation": (
        conv2d(IMAGE, KERNEL, stride=2, padding=(1, 2), dilation=(2, 1)),
        "(32 - 9 + 2)/2 + 1 = 13 and (27 - 3 + 4)/2 + 1 = 15",
    ),
    "pooling": (max_pool2d(IMAGE, window=2), "(32 - 2 + 0)/2 + 1 = 16 and (27 - 2 + 0)/2 + 1 = 13"),
    "rounded up": (
        avg_pool2d(IMAGE, window=2, ceil_mode=True),
        "(32 - 2 + 0)/2 + 1 = 16 and (27 - 2 + 0)/2 + 1 = 14 rounded up",
    ),
    "equal on both axes": (
        max_pool2d(make_input("square", parse_type("f32[N,3,9,9]")), window=3, stride=2),
        "(9 - 3 + 0)/2 + 1 = 4",
    ),
    "no window": (exp(IMAGE), ""),
    "a gradient of another size": (
        conv2d_weight_grad(IMAGE, conv2d(IMAGE, KERNEL, stride=2), window=(5, 3), stride=2), "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("node", "formula"), FORMULAS.values(), ids=FORMULAS)
def test_the_window_formula_is_filled_in(node: Node, formula: str) -> None:
    assert window_formula(node) == formula


def test_the_report_has_a_row_for_every_node() -> None:
    graph = Graph("net", [IMAGE, KERNEL], [exp(conv2d(IMAGE, KERNEL))])
    report = infer_shapes(graph)
    assert str(report).splitlines() == [
        "conv2d: conv2d(f32[N,3,32,27], f32[8,3,5,3]) -> f32[N,8,28,25]   "
        "(32 - 5 + 0)/1 + 1 = 28 and (27 - 3 + 0)/1 + 1 = 25",
        "exp: exp(f32[N,8,28,25]) -> f32[N,8,28,25]",
    ]
    assert [row["op"] for row in report.to_dict()["nodes"]] == ["conv2d", "exp"]
    assert "f32[N,8,28,25]" in gc.inspect.as_text(report)


def test_the_pass_returns_the_very_graph() -> None:
    graph = Graph("net", [IMAGE, KERNEL], [conv2d(IMAGE, KERNEL)])
    assert InferShapes()(graph) is graph


def test_the_pass_finds_a_forged_type() -> None:
    forged = make("exp", (make_input("forged", parse_type("f32[5]")),))
    object.__setattr__(forged, "type", parse_type("f32[6]"))
    with pytest.raises(InternalError, match=r"exp has the type f32\[6\]"):
        InferShapes()(Graph("g", [forged.inputs[0]], [forged]))
