"""The layers that networks are written with: ``from graphc import nn``.

A network is a `Module`: plain Python on traced tensors. Every op that graphc declares is also a
function here under its own name (``nn.relu``, ``nn.concat``, ...), without a line in this package.
This package knows layers and nothing of backends.
"""

from __future__ import annotations

from typing import Any

from graphc_nn import functional, initializers
from graphc_nn.activations import (
    ELU,
    GELU,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ScaledTanh,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from graphc_nn.connections import LENET5_CONNECTIONS
from graphc_nn.convolution import Conv, ConvTranspose
from graphc_nn.dense import RBF, Dense, TiedDense
from graphc_nn.locally_connected import LocallyConnected
from graphc_nn.module import Layer, Module, Sequential
from graphc_nn.normalization import (
    BatchNorm,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalContrastNorm,
    LocalResponseNorm,
)
from graphc_nn.pooling import AdaptiveAvgPool, AvgPool, GlobalAvgPool, L2Pool, MaxPool, Subsample
from graphc_nn.pretraining import Pretrained, Pretraining, pretrain, pretrain_pairs
from graphc_nn.regions import RoIMaxPool
from graphc_nn.regularization import L1, Dropout, Sparsity
from graphc_nn.siamese import Siamese
from graphc_nn.structure import Concat, Crop, Flatten, Identity, Pad, Reshape, Residual, Upsample

__all__ = [
    "ELU",
    "GELU",
    "L1",
    "LENET5_CONNECTIONS",
    "RBF",
    "AdaptiveAvgPool",
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Crop",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GroupNorm",
    "Identity",
    "InstanceNorm",
    "L2Pool",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LocalContrastNorm",
    "LocalResponseNorm",
    "LocallyConnected",
    "LogSoftmax",
    "MaxPool",
    "Module",
    "Pad",
    "Pretrained",
    "Pretraining",
    "ReLU",
    "Reshape",
    "Residual",
    "RoIMaxPool",
    "ScaledTanh",
    "Sequential",
    "SiLU",
    "Siamese",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sparsity",
    "Subsample",
    "Tanh",
    "TiedDense",
    "Upsample",
    "functional",
    "initializers",
    "pretrain",
    "pretrain_pairs",
]


def __getattr__(name: str) -> Any:
    try:
        return getattr(functional, name)
    except AttributeError:
        raise AttributeError(f"graphc.nn has neither a layer nor an op named {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*__all__, *functional.names()})
