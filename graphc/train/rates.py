"""The learning rates of a training: one for each group of parameters, as a step is fed them.

Knows optimisers and their schedules, no graphs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.train.optim.groups import Groups
from graphc.train.optim.optimizer import Group, Optimizer
from graphc.train.optim.schedules import Schedule

Array = np.ndarray[Any, Any]


class Rates:
    """The learning rate of each group at any optimiser step.

    dtype: of the arrays. constant: the rates as arrays, if none ever changes. As text it says what
    the rates are; of a function only that it is one.
    """

    def __init__(self, groups: Sequence[Group], dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.optimizers = tuple(group.optimizer for group in groups)
        self.schedules = [o.lr for o in self.optimizers if isinstance(o.lr, Schedule)]
        varying = any(callable(o.lr) for o in self.optimizers)
        self.constant = None if varying else self(0)

    def __call__(self, step: int) -> tuple[Array, ...]:
        """A scalar array for each group."""
        return tuple([np.asarray(o.rate(step), self.dtype) for o in self.optimizers])

    def numbers(self, step: int) -> tuple[float, ...]:
        """The rate of each group."""
        return tuple(float(o.rate(step)) for o in self.optimizers)

    @property
    def observing(self) -> bool:
        """Whether a schedule depends on the validation loss."""
        return any(schedule.state() for schedule in self.schedules)

    def observe(self, validation_loss: float) -> None:
        """Tells the schedules the validation loss after an epoch."""
        for schedule in self.schedules:
            schedule.observe(validation_loss)

    def state(self) -> list[dict[str, float]]:
        """What the schedules remember."""
        return [schedule.state() for schedule in self.schedules]

    def restore(self, states: Sequence[Mapping[str, float]]) -> None:
        """Takes up what `state` returned. Raises GraphcError if it was of other schedules."""
        if len(states) != len(self.schedules):
            raise GraphcError(
                f"the training had {len(states)} schedules, this one has {len(self.schedules)}",
                remedy="resume with the schedules that the training began with",
            )
        for schedule, state in zip(self.schedules, states, strict=True):
            schedule.restore(state)

    def __str__(self) -> str:
        return ", ".join(_shown(optimizer.lr) for optimizer in self.optimizers)


def with_own_schedules(optimizer: Optimizer | Groups) -> Optimizer | Groups:
    """The same with copies of its schedules: what they remember belongs to one training."""
    if isinstance(optimizer, Groups):
        return Groups(*((pattern, _with_own_schedule(o)) for pattern, o in optimizer.rules))
    return _with_own_schedule(optimizer)


def _with_own_schedule(optimizer: Optimizer) -> Optimizer:
    if not isinstance(optimizer.lr, Schedule):
        return optimizer
    return replace(optimizer, lr=copy.deepcopy(optimizer.lr))


def _shown(rate: object) -> str:
    """A rate as text that is the same in every process."""
    if not isinstance(rate, Schedule):
        return "a function" if callable(rate) else repr(rate)
    options: Sequence[Field[Any]] = fields(rate) if is_dataclass(rate) else ()
    values = (f"{o.name}={_shown(getattr(rate, o.name))}" for o in options if o.init)
    return f"{type(rate).__name__}({', '.join(values)})"
