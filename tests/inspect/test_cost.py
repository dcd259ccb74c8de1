"""FLOPs and bytes by family, worked by hand, and the price of a backward pass."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc.inspect import bytes_moved, flops, graph_flops
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import OPERATORS, Node
from graphc.ir.types import parse_type
from graphc.ops.contractions import conv2d, conv2d_input_grad, conv2d_weight_grad, matmul
from graphc.ops.create import full, random_uniform
from graphc.ops.elementwise import add, exp, mul, relu
from graphc.ops.op import Op
from graphc.ops.optimizers import sgd_update
from graphc.ops.pooling import avg_pool2d, max_pool2d
from graphc.ops.reductions import sum
from graphc.ops.softmax import softmax
from graphc.ops.structure import fused, get
from graphc.ops.views import broadcast, reshape, slice, transpose


def variable(name: str, type: str, kind: str = "data") -> Node:
    return make_input(name, parse_type(type), kind)


X = variable("x", "f32[N,6]")
W = variable("w", "f32[6,4]")
IMAGE = variable("image", "f32[N,3,32,32]")
KERNEL = variable("kernel", "f32[8,3,5,5]")
SGD = sgd_update(W, W, W, variable("lr", "f32[]"), momentum=0.9)

FLOPS = {
    "an input": (X, 0),
    "a matrix product": (matmul(X, W), 2 * 10 * 4 * 6),
    "a convolution": (conv2d(IMAGE, KERNEL), 2 * 10 * 8 * 28 * 28 * 3 * 5 * 5),
    "half the groups, half the products": (
        conv2d(variable("i4", "f32[N,4,9,9]"), variable("k4", "f32[6,2,3,3]"), groups=2),
        2 * 10 * 6 * 7 * 7 * 2 * 3 * 3),
    "the input gradient with stride 1": (
        conv2d_input_grad(conv2d(IMAGE, KERNEL), KERNEL, size=(32, 32)),
        2 * 10 * 3 * 32 * 32 * 8 * 5 * 5),
    "the input gradient with stride 2 reads every second tap": (
        conv2d_input_grad(conv2d(IMAGE, KERNEL, stride=2), KERNEL, size=(32, 32), stride=2),
        2 * 10 * 3 * 32 * 32 * 8 * 3 * 3),
    "the weight gradient": (
        conv2d_weight_grad(IMAGE, conv2d(IMAGE, KERNEL), window=(5, 5)),
        2 * 10 * 8 * 28 * 28 * 3 * 5 * 5),
    "an addition": (add(X, X), 10 * 6),
    "a comparison and a choice": (relu(X), 10 * 6),
    "a reduction": (sum(X, axes=1), 10 * 6),
    "a reduction of the batch": (sum(X), 10 * 6),
    "pooling": (max_pool2d(IMAGE, window=2), 10 * 3 * 16 * 16 * 4),
    "moving": (transpose(X), 0),
    "spreading": (broadcast(W, shape=(3, 6, 4)), 0),
    "making a constant": (full(1.0, shape=(5,)), 0),
    "random bits": (random_uniform(variable("key", "i32[]"), shape=(5,)), 0),
    "a layer": (softmax(X), 10 * 6 * (1 + 1 + 1 + 1 + 1)),  # max, sub, exp, sum, div
    "an optimiser": (SGD, 24 * (2 + 2)),
    "one of several results": (get(SGD, 0), 0),
    "a kernel": (fused(Graph("body", [X], [exp(mul(X, X))]), X), 10 * 6 * 2),
}  # fmt: skip


@pytest.mark.parametrize(("node", "expected"), FLOPS.values(), ids=FLOPS)
def test_flops(node: Node, expected: int) -> None:
    assert flops(node, 10) == expected


BYTES = {
    "an input": (X, 0),
    "a matrix product": (matmul(X, W), 4 * (60 + 24 + 40)),
    "an addition": (add(X, exp(X)), 4 * (60 + 60 + 60)),
    "one tensor read twice": (mul(X, X), 4 * (60 + 60)),
    "a part of a tensor": (slice(W, start=(0, 0), stop=(1, 4)), 4 * (4 + 4)),
    "a tensor spread": (broadcast(W, shape=(3, 6, 4)), 4 * (24 + 72)),
    "another shape": (reshape(W, shape=(24,)), 0),
    "several results": (SGD, 4 * (24 + 1 + 2 * 24)),
    "one of several results": (get(SGD, 0), 0),
    "a kernel": (fused(Graph("body", [X], [exp(mul(X, X))]), X), 4 * (60 + 60)),
}


@pytest.mark.parametrize(("node", "expected"), BYTES.values(), ids=BYTES)
def test_bytes_moved(node: Node, expected: int) -> None:
    assert bytes_moved(node, 10) == expected


def lenet() -> Graph:
    """The forward graph and loss of LeNet-5 without its layers' bookkeeping."""
    x, labels = variable("x", "f32[N,1,32,32]"), variable("labels", "i32[N]")
    shapes = {"c1": "[6,1,5,5]", "c3": "[16,6,5,5]"}
    shapes |= {"c5": "[120,400]", "f6": "[84,120]", "out": "[10,84]"}
    w = {name: variable(name, f"f32{shape}", "parameter") for name, shape in shapes.items()}

    def tanh(y: Node) -> Node:
        built: Node = OPERATORS["tanh"].build(y)  # type: ignore[attr-defined]
        return built

    y = avg_pool2d(tanh(conv2d(x, w["c1"])), window=2)
    y = avg_pool2d(tanh(conv2d(y, w["c3"])), window=2)
    y = reshape(y, shape=(*y.tensor.shape[:1], 400))
    for name in ("c5", "f6"):
        y = tanh(matmul(y, transpose(w[name])))
    loss = OPERATORS["softmax_cross_entropy"].build(matmul(y, transpose(w["out"])), labels)  # type: ignore[attr-defined]
    return Graph("lenet", [x, labels, *w.values()], [loss])


def test_the_forward_pass_of_lenet_costs_what_its_layers_do() -> None:
    products = 6 * 28 * 28 * 25 + 16 * 10 * 10 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10
    total = graph_flops(lenet())
    contracted = total - 2 * products
    assert 0 < contracted < 0.1 * total


def test_backpropagation_costs_about_twice_the_forward_pass() -> None:
    forward = lenet()
    step = Graph("step", forward.inputs, [*forward.outputs, *gc.grad(forward).outputs])
    backward = graph_flops(step, 32) - graph_flops(forward, 32)
    assert 1.7 < backward / graph_flops(forward, 32) < 2.3


def test_without_padding_an_input_gradient_counts_its_border_too() -> None:
    image, kernel = variable("i", "f32[N,6,14,14]"), variable("k", "f32[16,6,5,5]")
    forward = conv2d(image, kernel)
    back = conv2d_input_grad(forward, kernel, size=(14, 14))
    assert flops(back) * 10 * 10 == flops(forward) * 14 * 14


@pytest.mark.parametrize(
    "op", [o for o in OPERATORS.values() if isinstance(o, Op) and o.samples], ids=lambda o: o.name
)
def test_every_op_has_a_cost_that_does_not_shrink_with_the_batch(op: Op) -> None:
    for sample in (s for s in op.samples if s.raises is None):
        inputs = [make_input(f"i{k}", parse_type(t)) for k, t in enumerate(sample.types)]
        node = op.build(*inputs, **sample.attrs)
        assert 0 <= flops(node, 1) <= flops(node, 4)
        assert 0 <= bytes_moved(node, 1) <= bytes_moved(node, 4)
