"""The graphs of a model: prediction, evaluation, and one whole training step.

A training step is one graph: forward, loss, gradients and the optimiser's update, with parameters
and states donated. Every update is guarded: a step whose loss is not finite changes nothing. This
file builds graphs and runs none.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.base.errors import GraphcError
from graphc.base.source import written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType
from graphc.ops.elementwise import add, equal, sub, where
from graphc.passes.autodiff import gradients
from graphc.tracing.trace import Traced
from graphc.train.losses import Loss
from graphc.train.optim import Optimizer

TARGET = "y"
LEARNING_RATE = "learning_rate"


def evaluation_graph(forward: Graph, loss: Loss, kind: str) -> Graph:
    """``evaluate(x, y, ...) -> loss, outputs...`` of a forward graph."""
    target = make_input(TARGET, loss.target_type(forward.outputs, kind))
    value = loss.build(forward.outputs, target)
    data = [i for i in forward.inputs if i.attrs["kind"] == "data"]
    held = [i for i in forward.inputs if i.attrs["kind"] != "data"]
    return Graph("evaluate", [*data, target, *held], [value, *forward.outputs])


def training_graph(traced: Traced, loss: Loss, optimizer: Optimizer, kind: str) -> Graph:
    """``train(x, y, learning_rate, ...) -> loss, [scores], new parameters, new states``.

    traced: the network in training. The scores are the network's output, there if the loss
    classifies. What is new overwrites what was there. Raises GraphcError if there is nothing to
    train or the loss is no float scalar.
    """
    parameters = [node for node, _ in traced.trace.parameters.values()]
    if not parameters:
        raise GraphcError(
            "the network has no parameters, so there is nothing to train",
            remedy="leave the optimizer out to predict only",
        )
    target = make_input(TARGET, loss.target_type(traced.outputs, kind))
    value = loss.build(traced.outputs, target)
    for penalty in traced.trace.penalties:
        value = add(value, penalty)
    derivatives = gradients(value, parameters)
    rate = make_input(LEARNING_RATE, TensorType(_widest(parameters), ()))
    with written_at(None, "optimizer"):
        update = optimizer.update(parameters, derivatives, rate)
        updates = traced.trace.updates
        states = {name: node for name, (node, _) in traced.trace.states.items()}
        layer_states = [(states[name], after) for name, after in updates.items()]
        kept = [node for name, node in states.items() if name not in updates]
        changes = [
            *zip(parameters, update.parameters, strict=True),
            *layer_states,
            *update.states,
        ]
        finite = equal(sub(value, value), 0.0)
        guarded = [where(finite, after, before) for before, after in changes]
    visible = [value, *(traced.outputs if loss.classifies else ())]
    fed = [*traced.data, target, rate]
    inputs = [*fed, *(before for before, _ in changes), *kept]
    donations = [(len(visible) + k, len(fed) + k) for k in range(len(changes))]
    return Graph("train", inputs, [*visible, *guarded], donations)


def _widest(parameters: Sequence[Node]) -> DType:
    """The dtype of the learning rate: f64 as soon as a parameter is."""
    return DType.f64 if any(p.tensor.dtype is DType.f64 for p in parameters) else DType.f32
