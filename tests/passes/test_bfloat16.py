"""Which operands are rounded to bf16, and what may be done with what is stored so."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.text import parse
from graphc.ir.types import DType, TensorType, parse_type, rounded_to_bf16
from graphc.loops.axes import normalized
from graphc.loops.definition import body_of, define
from graphc.ops.contractions import conv2d, conv2d_weight_grad, matmul
from graphc.ops.elementwise import add, cast, relu
from graphc.ops.views import transpose
from graphc.passes.bfloat16 import Bfloat16
from graphc.passes.block_channels import BlockChannels

X, W = "f32[N,32,8,8]", "f32[48,32,3,3]"


def _x(name: str, type: str, kind: str = "data") -> Node:
    return make_input(name, parse_type(type), kind)


def _rounded(node: Node, *inputs: Node, batch: int = 4) -> set[str]:
    """The ops whose operands are bf16."""
    graph = Bfloat16(batch).run(Graph("g", inputs, [node]))
    return {
        n.op.name
        for n in graph.nodes
        if n.op.name != "cast" and n.inputs and n.inputs[0].tensor.dtype is DType.bf16
    }


def test_operands_of_a_convolution_are_rounded_and_results_are_f32() -> None:
    x, w = _x("x", X), _x("w", W)
    graph = Bfloat16().run(Graph("g", [x, w], [relu(conv2d(x, w))]))
    (result,) = graph.outputs
    conv = result.inputs[0]
    assert [str(i.type) for i in conv.inputs] == ["bf16[N,32,8,8]", "bf16[48,32,3,3]"]
    assert result.tensor.dtype is DType.f32
    assert Bfloat16().run(graph) is graph, "rounding twice is rounding once"
    assert parse(str(graph)).outputs == graph.outputs


def test_a_transposed_matrix_is_rounded_as_it_lies() -> None:
    x, w = _x("x", "f32[N,64]"), _x("w", "f32[10,64]")
    graph = Bfloat16().run(Graph("g", [x, w], [matmul(x, transpose(w))]))
    turned = graph.outputs[0].inputs[1]
    assert turned.op.name == "transpose"
    assert turned.inputs[0].op.name == "cast"


def test_what_would_not_be_faster_stays() -> None:
    x, w, g = _x("x", X), _x("w", W), _x("g", "f32[N,48,6,6]")
    few = _x("few", "f32[N,3,8,8]"), _x("w3", "f32[48,3,3,3]")
    assert not _rounded(conv2d(*few), *few), "three channels are no block"
    assert not _rounded(conv2d_weight_grad(x, g, window=(3, 3)), x, g), "pixels lie apart"
    dense = _x("a", "f32[N,64]"), _x("b", "f32[64,10]")
    assert not _rounded(matmul(*dense), *dense), "a column's numbers lie apart"
    odd = _x("a", "f32[N,63]"), _x("b", "f32[10,63]")
    assert not _rounded(matmul(odd[0], transpose(odd[1])), *odd), "63 are no pairs"
    other = _x("w4", "f32[24,32,3,3]")
    assert not _rounded(conv2d(x, other), x, other), "24 maps are no blocks"
    assert _rounded(conv2d(x, w), x, w) == {"conv2d"}


def test_many_samples_in_lanes_leave_dense_layers() -> None:
    x, w = _x("x", "f32[N,64]"), _x("w", "f32[10,64]")
    dense = matmul(x, transpose(w))
    assert "matmul" in _rounded(dense, x, w)
    assert not _rounded(dense, x, w, batch=64), "what is summed lies apart"


def test_a_training_step_of_few_samples_leaves_dense_layers() -> None:
    x, w = _x("x", "f32[N,64]"), _x("w", "f32[64,64]", "parameter")
    y = matmul(x, transpose(w))
    changed = Graph("step", [x, w], [y, add(w, w)], ((1, 1),))
    assert Bfloat16().run(changed) is changed
    kept = Graph("forward", [x, w], [y])
    assert Bfloat16().run(kept) is not kept


def test_numbers_are_moved_before_they_are_rounded() -> None:
    x, w = _x("x", X), _x("w", W)
    graph = BlockChannels().run(Bfloat16().run(Graph("g", [x, w], [conv2d(x, w)])))
    moved = [n for n in graph.nodes if n.op.name == "relayout"]
    assert moved
    assert all(n.tensor.dtype is DType.f32 for n in moved)


def test_channels_are_summed_in_pairs() -> None:
    x, w = _x("x", "bf16[N,32,8,8]{blocked_1}"), _x("w", "bf16[48,32,1,1]{blocked_1_0}")
    definition = normalized(define(body_of(conv2d(x, w))))
    assert definition.combine == "dot"
    assert sorted(a.extent for a in definition.reduced) == [2, 8]  # type: ignore[type-var]


def test_what_does_not_lie_in_pairs_is_widened() -> None:
    a, b = _x("a", "bf16[N,64]"), _x("b", "bf16[64,10]")
    assert normalized(define(body_of(matmul(a, b)))).combine == "fma"


def test_bf16_is_for_storage_alone() -> None:
    x = _x("x", "bf16[N,3]")
    assert str(cast(transpose(x), dtype=DType.f32).type) == "f32[3,N]"
    with pytest.raises(GraphcError, match="only for storage"):
        relu(x)
    assert TensorType(DType.bf16, (4,)).bytes() == 8


def test_rounding_goes_to_the_nearest_and_halves_to_even() -> None:
    step = 2.0**-7  # between bf16 numbers from 1 to 2
    x = np.float32([1 + step / 2, 1 + 1.5 * step, 1 + 0.51 * step, -1 - step / 2, 3.3961775e38])
    expected = np.float32([1, 1 + 2 * step, 1 + step, -1, np.inf])
    np.testing.assert_array_equal(rounded_to_bf16(x), expected)
    assert np.isnan(rounded_to_bf16(np.float32([np.nan]))).all()
