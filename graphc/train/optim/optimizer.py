"""What an optimiser is: a rule from gradients to new parameters, as nodes of the training graph.

The update is compiled with the step it belongs to. The learning rate is an input of the graph, so a
schedule never recompiles. Knows no particular rule, neither networks nor losses.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.base.errors import GraphcError
from graphc.ir.graph import make_input
from graphc.ir.node import Node

LearningRate = float | Callable[[int], float]
STEP_NAME = "optimizer.step"


@dataclass(frozen=True)
class Update:
    """Nodes of one optimiser step.

    parameters: the next value of each parameter. states: (input, its next value) of what the
    optimiser keeps between steps; all of it starts at zero.
    """

    parameters: tuple[Node, ...]
    states: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True)
class Group:
    """Parameters, by name, that one optimiser updates: one set of options, one learning rate."""

    names: tuple[str, ...]
    optimizer: Optimizer


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule that turns gradients into new parameters.

    lr: the learning rate, a number, a schedule, or a function of the step's number (from 0).
    """

    lr: LearningRate

    @abstractmethod
    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step. `lr` is a scalar; parameters are input nodes."""

    def groups(self, names: Sequence[str]) -> tuple[Group, ...]:
        """Who updates which of the named parameters: this optimiser all of them.

        Every name is in exactly one group, names keep their order, no group is empty, and no
        group's optimiser has groups of its own.
        """
        return (Group(tuple(names), self),)

    def rate(self, step: int) -> float:
        """The learning rate of step number `step`.

        Raises GraphcError if a schedule gives something that is no finite number of at least 0.
        """
        if not callable(self.lr):
            return self.lr
        return checked_number(f"the learning rate at step {step}", self.lr(step))


def state(parameter: Node, name: str) -> Node:
    """A state of the parameter's type, named after it: ``0.weight.velocity``."""
    return make_input(f"{parameter.attrs['name']}.{name}", parameter.tensor, "state")


def check_rate(owner: str, lr: LearningRate) -> None:
    """Raises GraphcError if `lr` is neither a function nor a finite number of at least 0."""
    if not callable(lr):
        checked_number(f"{owner}: lr", lr)


def checked_number(what: str, value: object, low: float = 0.0, high: float = math.inf) -> float:
    """`value` as a float. Raises GraphcError naming `what` unless it is a number in [low, high)."""
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    if not is_number or not low <= float(value) < high:  # type: ignore[arg-type]
        bound = f"in [{low:g}, {high:g})" if math.isfinite(high) else f"of at least {low:g}"
        raise GraphcError(f"{what} is {value!r}", remedy=f"give a finite number {bound}")
    return float(value)  # type: ignore[arg-type]
