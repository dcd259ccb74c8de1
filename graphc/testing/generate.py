"""Random well-typed graphs over every op that has samples.

A graph grows from a pool of values: an op is drawn, its operands come from the pool or are new
inputs, and what it makes joins the pool. How operands and attributes of an op are drawn stands in
`recipes`; an op without a recipe is built from its own samples, so that a new op takes part without
a line here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import INPUT, Graph, topological_order
from graphc.ir.node import Node
from graphc.ir.types import DType
from graphc.ops.create import full
from graphc.ops.elementwise import add, cast, mul, sigmoid
from graphc.ops.op import Op
from graphc.ops.reductions import sum as sum_of
from graphc.passes.autodiff import gradients
from graphc.testing.draft import Below, Draft, sampled_ops
from graphc.testing.recipes import recipe_of

ATTEMPTS = 8
WIDE = 20  # of a hundred graphs: images of many channels, most of them convolved
CONVOLUTIONS = 30  # of a hundred ops of these


def random_graph(
    rng: np.random.Generator | Below,
    *,
    max_ops: int = 12,
    dtype: DType = DType.f32,
    with_gradients: int = 25,
    donations: int = 10,
    ops: Sequence[str] | None = None,
) -> Graph:
    """A random well-typed graph of about 1 to `max_ops` drawn ops over all ops that have samples.

    rng: a numpy generator, or a function that gives a number below its argument.
    dtype: of float inputs, f32 or f64. with_gradients, donations: in how many of a hundred graphs
    some outputs are gradients, and some outputs overwrite inputs. ops: names to draw from. Raises
    GraphcError if `ops` names no op that has samples.
    """
    below: Below = (
        (lambda bound: int(rng.integers(bound))) if isinstance(rng, np.random.Generator) else rng
    )
    choices = [op for op in sampled_ops() if ops is None or op.name in ops]
    if not choices:
        raise GraphcError(f"none of {ops} is an op with samples", remedy="name declared ops")
    convolutions = [op for op in choices if op.name == "conv2d"]
    draft = Draft(below, dtype)
    draft.wide = bool(convolutions) and not draft.chance(100 - WIDE)
    wanted = draft.between(1, max_ops)
    made = 0
    for _ in range(ATTEMPTS * wanted):
        convolved = draft.wide and (made == 0 or draft.chance(CONVOLUTIONS))
        op = draft.pick(convolutions if convolved else choices)
        node = recipe_of(op)(draft, op)
        kept = None if node is None else draft.keep(node)
        made += kept is not None
        if made == wanted:
            break
    return _finished(draft, with_gradients * (2 if draft.wide else 1), donations)


def _finished(draft: Draft, with_gradients: int, donations: int) -> Graph:
    """The graph whose outputs are up to four of the values that nothing else reads."""
    read = {i for value in draft.values for i in value.inputs}
    ends = [v for v in draft.values if v not in read and v.op is not INPUT]
    if not ends:
        ends = [add(draft.any(), 0.5)]
    while len(ends) > 4:
        ends.pop(draft.below(len(ends)))
    outputs = list(ends)
    floats = [v for v in ends if v.tensor.dtype.is_float]
    if floats and draft.chance(with_gradients):
        outputs += _gradients(draft, floats)
    used = set(topological_order(outputs))
    inputs = [i for i in draft.inputs if i in used]
    donated = _donated(draft, inputs, outputs) if draft.chance(donations) else []
    return Graph("random", inputs, outputs, donated)


def _gradients(draft: Draft, floats: Sequence[Node]) -> list[Node]:
    """Gradients of the weighted sum of one or two outputs for up to three inputs."""
    dtype = floats[0].tensor.dtype
    total: Node = full(0.0, dtype=dtype)
    for value in floats[:2]:
        weighted = mul(sigmoid(value), value) if draft.chance(50) else mul(value, 0.5)
        total = add(total, cast(sum_of(weighted), dtype=dtype))
    order = set(topological_order([total]))
    if not all(_differentiable(node) for node in order):
        return []
    sources = [i for i in draft.inputs if i in order and i.tensor.dtype.is_float]
    while len(sources) > 3:
        sources.pop(draft.below(len(sources)))
    return [total, *gradients(total, sources)]


def _differentiable(node: Node) -> bool:
    op = node.op
    return not isinstance(op, Op) or op.vjp is not None or op.decompose is not None


def _donated(
    draft: Draft, inputs: Sequence[Node], outputs: Sequence[Node]
) -> list[tuple[int, int]]:
    """Outputs, computed ones only, that overwrite an input of their type; each input once."""
    found: list[tuple[int, int]] = []
    for k, output in enumerate(outputs):
        taken = {source for _, source in found}
        fitting = [s for s, i in enumerate(inputs) if s not in taken and i.tensor == output.tensor]
        if fitting and output.op is not INPUT and outputs.index(output) == k:
            found.append((k, draft.pick(fitting)))
    return found
