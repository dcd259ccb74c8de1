"""The graphs of a model: prediction, evaluation, and one whole training step.

A training step is one graph: forward, loss, gradients and the optimiser's update, with parameters
and states donated. Every update is guarded: a step whose loss is not finite changes nothing. This
file builds graphs and runs none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from graphc.base.arguments import check_whole
from graphc.base.errors import GraphcError
from graphc.base.source import written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType, TupleType
from graphc.ops.create import batch_size, full
from graphc.ops.elementwise import (
    add,
    cast,
    div,
    equal,
    logical_and,
    maximum,
    minimum,
    mul,
    sqrt,
    sub,
    where,
)
from graphc.ops.reductions import sum as total
from graphc.passes.autodiff import gradients
from graphc.passes.decompose import Decompose
from graphc.passes.pool_first import PoolFirst
from graphc.tracing.trace import Traced
from graphc.train.losses import Loss
from graphc.train.optim import Groups, Optimizer

TARGET = "y"
LEARNING_RATE = "learning_rate"
APPLY = "apply"
SAMPLES = "gradient_sum.samples"
NORM_EPSILON = 1e-6  # what PyTorch's clip_grad_norm_ adds to the norm


@dataclass(frozen=True)
class StepOptions:
    """What a training step does with parameters and gradients before the optimiser sees them.

    frozen: names of parameters that are not trained. clip_norm: all gradients are scaled so that
    together they have at most this norm. clip_value: each element is put into +-clip_value.
    accumulate: batches whose gradients are averaged for one update. Raises GraphcError for a value
    out of range.
    """

    frozen: frozenset[str] = frozenset()
    clip_norm: float | None = None
    clip_value: float | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("clip_norm", "clip_value"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < math.inf):
                raise GraphcError(f"{name} {value!r}", remedy="give a finite number above 0")
        if self.clip_norm is not None and self.clip_value is not None:
            raise GraphcError(
                f"clip_norm {self.clip_norm!r} and clip_value {self.clip_value!r}",
                remedy="clip by one of them",
            )
        check_whole("accumulate", self.accumulate)


def evaluation_graph(forward: Graph, loss: Loss, kind: str) -> Graph:
    """``evaluate(x, y, ...) -> loss, outputs...`` of a forward graph."""
    targets = target_inputs(loss, forward.outputs, kind)
    value = loss.build(forward.outputs, targets)
    data = [i for i in forward.inputs if i.attrs["kind"] == "data"]
    held = [i for i in forward.inputs if i.attrs["kind"] != "data"]
    return Graph("evaluate", [*data, *targets, *held], [value, *forward.outputs])


def training_graph(
    traced: Traced, loss: Loss, optimizer: Optimizer | Groups, kind: str, options: StepOptions
) -> Graph:
    """``train(x, y, learning_rate, ...) -> loss, [scores], new parameters, new states``.

    traced: the network in training. There is a learning rate for each group of parameters, and
    ``apply`` after them if gradients accumulate. The scores are the network's first output, there
    if the loss classifies. What is new overwrites what was there. Raises GraphcError if there is
    nothing to train or the loss is no float scalar.
    """
    traced = traced.rewritten(PoolFirst())  # before gradients are taken, which then are fewer
    parameters = _trained(traced, options)
    targets = target_inputs(loss, traced.outputs, kind)
    value = reduce(add, traced.trace.penalties, loss.build(traced.outputs, targets))
    derivatives = gradients(value, parameters)
    by_name = {p.attrs["name"]: p for p in parameters}
    groups = optimizer.groups(list(by_name))
    dtype = _widest(parameters)
    rates = [make_input(n, TensorType(dtype, ())) for n in numbered(LEARNING_RATE, len(groups))]
    with written_at(None, "optimizer"):
        finite = applied = equal(sub(value, value), 0.0)
        fed = [*traced.data, *targets, *rates]
        sums: list[tuple[Node, Node]] = []
        if options.accumulate > 1:
            apply = make_input(APPLY, TensorType(DType.bool, ()))
            fed.append(apply)
            applied = logical_and(finite, apply)
            derivatives, sums = _accumulated(parameters, derivatives, traced.data, apply)
        clipped = dict(zip(parameters, _clipped(derivatives, options, dtype), strict=True))
        updated: dict[Node, Node] = {}
        kept_by_optimizer: dict[Node, Node] = {}
        for group, rate in zip(groups, rates, strict=True):
            chosen = [by_name[name] for name in group.names]
            update = group.optimizer.update(chosen, [clipped[p] for p in chosen], rate)
            updated |= zip(chosen, update.parameters, strict=True)
            kept_by_optimizer |= update.states  # groups may share one, the step's number
        layer_states, read_only = _layer_states(traced, parameters)
        changes = [
            *((before, where(applied, updated[before], before)) for before in parameters),
            *((before, where(finite, after, before)) for before, after in layer_states),
            *((b, where(applied, after, b)) for b, after in kept_by_optimizer.items()),
            *((before, where(finite, after, before)) for before, after in sums),
        ]
    visible = [value, *(traced.outputs[:1] if loss.classifies else ())]
    inputs = [*fed, *(before for before, _ in changes), *read_only]
    donations = [(len(visible) + k, len(fed) + k) for k in range(len(changes))]
    return Graph("train", inputs, [*visible, *(after for _, after in changes)], donations)


def samples_are_independent(forward: Graph) -> bool:
    """Whether what is computed for a sample of the batch depends on that sample alone.

    No shape holds the batch twice, so that samples can only meet where it is reduced away.
    """
    batches = {i for i in forward.inputs if i.tensor.batch_axis is not None}
    for node in Decompose()(forward).nodes:
        if batches.isdisjoint(node.inputs):
            continue
        types = node.type.elements if isinstance(node.type, TupleType) else (node.type,)
        if any(type.batch_axis is None for type in types):
            return False
        batches.add(node)
    return True


def target_inputs(loss: Loss, outputs: Sequence[Node], kind: str) -> list[Node]:
    """The inputs that hold the targets: "y", or "y0", "y1", ... if there are several."""
    types = loss.target_types(outputs, kind)
    return [make_input(n, t) for n, t in zip(numbered(TARGET, len(types)), types, strict=True)]


def numbered(name: str, count: int) -> list[str]:
    """`name` itself for one, else it with a number from 0."""
    return [name] if count == 1 else [f"{name}{k}" for k in range(count)]


def _trained(traced: Traced, options: StepOptions) -> list[Node]:
    """The parameters that are not frozen. Raises GraphcError if there are none."""
    table = traced.trace.parameters
    found = [node for name, (node, _) in table.items() if name not in options.frozen]
    if not found:
        raise GraphcError(
            "every parameter of the network is frozen"
            if table
            else "the network has no parameters, so there is nothing to train",
            remedy="leave the optimizer out to predict only",
        )
    return found


def _layer_states(
    traced: Traced, trained: Sequence[Node]
) -> tuple[list[tuple[Node, Node]], list[Node]]:
    """(what layers keep between steps, with its next value), and what a step only reads."""
    states = {name: node for name, (node, _) in traced.trace.states.items()}
    updates = traced.trace.updates
    changing = [(states[name], after) for name, after in updates.items()]
    parameters = [node for node, _ in traced.trace.parameters.values()]
    frozen = [node for node in parameters if node not in trained]
    return changing, [*frozen, *(node for name, node in states.items() if name not in updates)]


def _accumulated(
    parameters: Sequence[Node], derivatives: Sequence[Node], data: Sequence[Node], apply: Node
) -> tuple[list[Node], list[tuple[Node, Node]]]:
    """(mean gradients over the batches so far, sums with their next values).

    A batch counts by its samples, so that the mean is that of one large batch.
    """
    scalar = TensorType(DType.f32, ())
    batched = any(node.tensor.batch_axis is not None for node in data)
    count = make_input(SAMPLES, scalar, "state")
    samples = batch_size(dtype=DType.f32) if batched else full(1.0, shape=(), dtype=DType.f32)
    counted = add(count, samples)
    means, sums = [], [(count, where(apply, 0.0, counted))]
    for parameter, derivative in zip(parameters, derivatives, strict=True):
        type = parameter.tensor
        before = make_input(f"{parameter.attrs['name']}.gradient_sum", type, "state")
        after = add(before, mul(derivative, cast(samples, dtype=type.dtype)))
        means.append(div(after, cast(counted, dtype=type.dtype)))
        sums.append((before, where(apply, 0.0, after)))
    return means, sums


def _clipped(derivatives: Sequence[Node], options: StepOptions, dtype: DType) -> list[Node]:
    """The gradients, clipped as PyTorch's clip_grad_norm_ or clip_grad_value_ does."""
    if options.clip_value is not None:
        limit = options.clip_value
        return [maximum(minimum(g, limit), -limit) for g in derivatives]
    if options.clip_norm is None:
        return list(derivatives)
    squares = [cast(total(mul(g, g)), dtype=dtype) for g in derivatives]
    norm = sqrt(reduce(add, squares))
    scale = minimum(div(options.clip_norm, add(norm, NORM_EPSILON)), 1.0)
    return [mul(g, cast(scale, dtype=g.tensor.dtype)) for g in derivatives]


def _widest(parameters: Sequence[Node]) -> DType:
    """The dtype of the learning rate: f64 as soon as a parameter is."""
    return DType.f64 if any(p.tensor.dtype is DType.f64 for p in parameters) else DType.f32
