"""Every op on every one of its samples, on every backend: an op is tested by declaring it.

Value, dtype and shape against the oracle; the scalar body, access or contraction against the
oracle; the decomposition against the oracle; gradients of both orders against finite differences;
the text form; and bad samples raise what they say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

import graphc as gc
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import OPERATORS, Node
from graphc.ir.types import TupleType, parse_type
from graphc.ops.create import full
from graphc.ops.elementwise import add, mul
from graphc.ops.interpret import interpret
from graphc.ops.op import Op, Sample, op_of
from graphc.ops.reductions import sum as sum_of
from graphc.ops.structure import get
from graphc.passes.autodiff import gradients
from graphc.passes.decompose import Decompose
from graphc.testing import Expectation, check_grads, sample_inputs
from graphc.testing.definition import by_definition

BATCH = 3
OPS = [op for name, op in sorted(OPERATORS.items()) if isinstance(op, Op)]
LOOPS = ("elementwise", "create", "view", "reduction", "contraction")
UNSAMPLED = {"fused", "get", "max_pool2d_index", "relayout"}


def _cases(ops: Sequence[Op], *, good: bool) -> list[object]:
    return [
        pytest.param(op, sample, id=f"{op.name}-{k}")
        for op in ops
        for k, sample in enumerate(op.samples)
        if (sample.raises is None) == good
    ]


def _built(op: Op, sample: Sample) -> tuple[list[Node], tuple[Node, ...]]:
    inputs = [make_input(f"x{k}", parse_type(text)) for k, text in enumerate(sample.types)]
    node = op.build(*inputs, **sample.attrs)
    if not isinstance(node.type, TupleType):
        return inputs, (node,)
    return inputs, tuple(get(node, k) for k in range(len(node.type.elements)))


def _graph(op: Op, sample: Sample) -> Graph:
    inputs, outputs = _built(op, sample)
    return Graph(op.name, inputs, outputs)


def _arrays(graph: Graph, sample: Sample, n: int = BATCH) -> dict[str, np.ndarray]:
    drawn = sample_inputs(sample, n, np.random.default_rng(7))
    return {i.attrs["name"]: array for i, array in zip(graph.inputs, drawn, strict=True)}


def _batch(graph: Graph) -> int:
    return BATCH if any(i.tensor.batch_axis is not None for i in graph.inputs) else 1


def _run(graph: Graph, backend: str, arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    result = gc.compile(graph, backend=backend)(**arrays)
    return result if isinstance(result, tuple) else (result,)


def _differentiable(op: Op, sample: Sample) -> list[str]:
    """The inputs of the sample whose gradient is to be checked."""
    graph = _graph(op, sample)
    if not any(o.tensor.dtype.is_float for o in graph.outputs):
        return []
    if any(o.op.name == "get" for o in graph.outputs):
        return []
    floats = [k for k, i in enumerate(graph.inputs) if i.tensor.dtype.is_float]
    chosen = floats if sample.differentiable is None else sample.differentiable
    return [f"x{k}" for k in chosen]


SMOOTH = [
    pytest.param(op, sample, id=f"{op.name}-{k}")
    for op in OPS
    for k, sample in enumerate(op.samples)
    if sample.raises is None and _differentiable(op, sample)
]


def test_every_op_has_samples_but_those_that_are_reached_through_others() -> None:
    assert {op.name for op in OPS if not op.samples} == UNSAMPLED


@pytest.mark.parametrize(("op", "sample"), _cases(OPS, good=True))
def test_the_value_is_what_numpy_says(op: Op, sample: Sample, backend: str) -> None:
    graph = _graph(op, sample)
    arrays = _arrays(graph, sample)
    n = _batch(graph)
    Expectation(graph, arrays, n).check(_run(graph, backend, arrays), backend)


@pytest.mark.parametrize(("op", "sample"), _cases(OPS, good=True))
def test_large_batches_and_batches_of_one(op: Op, sample: Sample, backend: str) -> None:
    graph = _graph(op, sample)
    if _batch(graph) == 1:
        return
    for n in (1, 19):
        arrays = _arrays(graph, sample, n)
        Expectation(graph, arrays, n).check(_run(graph, backend, arrays), f"{backend}, N = {n}")


@pytest.mark.parametrize(
    ("op", "sample"), _cases([op for op in OPS if op.family in LOOPS], good=True)
)
def test_the_loops_that_an_op_declares_mean_what_numpy_says(op: Op, sample: Sample) -> None:
    graph = _graph(op, sample)
    arrays = _arrays(graph, sample)
    n = _batch(graph)
    node = graph.outputs[0]
    if node.op is not op:  # the builder found something simpler, such as a constant
        return
    operands = (
        interpret(Graph("operands", graph.inputs, node.inputs), arrays, n) if node.inputs else []
    )
    found = by_definition(node, operands, n)
    Expectation(graph, arrays, n).check([found], f"the definition of {op.name}")


@pytest.mark.parametrize(
    ("op", "sample"), _cases([op for op in OPS if op.decompose is not None], good=True)
)
def test_a_layer_means_its_decomposition(op: Op, sample: Sample) -> None:
    graph = _graph(op, sample)
    arrays = _arrays(graph, sample)
    simpler = Decompose().run(graph)
    assert all(op_of(n).decompose is None for n in simpler.nodes if isinstance(n.op, Op))
    outputs = gc.compile(simpler, backend="numpy")(**arrays)
    got = outputs if isinstance(outputs, tuple) else (outputs,)
    Expectation(graph, arrays, _batch(graph)).check(got, "the decomposition")


@pytest.mark.parametrize(("op", "sample"), SMOOTH)
def test_gradients_of_both_orders_are_slopes(op: Op, sample: Sample) -> None:
    graph = _graph(op, sample)
    arrays = _arrays(graph, sample)
    found = check_grads(graph, arrays, order=2, wrt=_differentiable(op, sample))
    assert found.worst < 1e-3


@pytest.mark.parametrize(("op", "sample"), SMOOTH)
def test_gradients_on_every_backend(op: Op, sample: Sample, backend: str) -> None:
    inputs, outputs = _built(op, sample)
    total: Node = full(0.0, dtype=outputs[0].tensor.dtype)
    for output in outputs:
        total = add(total, sum_of(mul(output, output)))
    sources = [i for i in inputs if i.attrs["name"] in _differentiable(op, sample)]
    graph = Graph("slopes", inputs, gradients(total, sources))
    arrays = _arrays(graph, sample)
    n = _batch(graph)
    Expectation(graph, arrays, n).check(_run(graph, backend, arrays), f"{backend}'s gradient")


@pytest.mark.parametrize(("op", "sample"), _cases(OPS, good=True))
def test_the_text_reads_back(op: Op, sample: Sample) -> None:
    graph = _graph(op, sample)
    gc.verify(graph)
    assert gc.parse(str(graph)) is graph


@pytest.mark.parametrize(("op", "sample"), _cases(OPS, good=False))
def test_bad_samples_raise_what_they_say(op: Op, sample: Sample) -> None:
    assert sample.raises is not None
    with pytest.raises(GraphcError) as caught:
        _built(op, sample)
    assert sample.raises in str(caught.value)
    assert caught.value.remedy
    assert caught.value.location is not None and caught.value.location.file == __file__


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_op_says_what_it_does(op: Op) -> None:
    assert op.doc or op.name == "max_pool2d_index" or op.name == "max_pool2d_take"
