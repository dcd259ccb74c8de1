"""The layers that networks are written with: ``from graphc import nn``.

A network is a `Module`: plain Python on traced tensors. Every op that graphc declares is also a
function here under its own name (``nn.relu``, ``nn.concat``, ...), without a line in this package.
This package knows layers and nothing of backends.
"""

from __future__ import annotations

from typing import Any

from graphc_nn import functional, initializers
from graphc_nn.activations import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from graphc_nn.layers import AvgPool, Conv, Dense, Flatten, MaxPool
from graphc_nn.module import Layer, Module, Sequential
from graphc_nn.normalization import BatchNorm
from graphc_nn.regularization import Dropout

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool",
    "Module",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "functional",
    "initializers",
]


def __getattr__(name: str) -> Any:
    try:
        return getattr(functional, name)
    except AttributeError:
        raise AttributeError(f"graphc.nn has neither a layer nor an op named {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*__all__, *functional.names()})
