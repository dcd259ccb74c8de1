"""``graphc.optim``: optimisers and schedules of the learning rate.

The names only; each is explained where it is defined.
"""

from graphc.train.optim.algorithms import SGD, AdaGrad, Adam, AdamW, RMSProp
from graphc.train.optim.groups import Groups
from graphc.train.optim.optimizer import Group, LearningRate, Optimizer, Update
from graphc.train.optim.schedules import (
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    Warmup,
    steps,
)

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Cosine",
    "Exponential",
    "Group",
    "Groups",
    "LearningRate",
    "MultiStep",
    "OneCycle",
    "Optimizer",
    "Plateau",
    "RMSProp",
    "Schedule",
    "Step",
    "Update",
    "Warmup",
    "steps",
]
