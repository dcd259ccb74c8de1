"""Small networks around every layer and optimiser, and what a training step of one is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphc as gc
from graphc import nn, optim
from graphc.ir.graph import Graph
from graphc.testing import random_inputs

Array = np.ndarray[Any, Any]

LAYERS: dict[str, Callable[[], nn.Layer]] = {
    "batch norm": nn.BatchNorm,
    "dropout": lambda: nn.Dropout(0.5),
    "max pooling": lambda: nn.MaxPool(2),
    "layer norm": nn.LayerNorm,
    "group norm": lambda: nn.GroupNorm(4),
    "instance norm": nn.InstanceNorm,
    "local response norm": nn.LocalResponseNorm,
    "local contrast norm": nn.LocalContrastNorm,
    "max pooling, overlapping": lambda: nn.MaxPool(3, stride=2, padding=1),
    "average pooling": lambda: nn.AvgPool(2),
    "l2 pooling": lambda: nn.L2Pool(2),
    "adaptive pooling": lambda: nn.AdaptiveAvgPool(3),
    "global pooling": nn.GlobalAvgPool,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "grouped convolution": lambda: nn.Conv(12, 3, groups=4),
    "transposed convolution": lambda: nn.ConvTranspose(6, 3, stride=2),
    "locally connected": lambda: nn.LocallyConnected(4, 3),
    "residual": lambda: nn.Residual(nn.Conv(8, 3, padding=1)),
    "upsampling": lambda: nn.Upsample(2),
}
OPTIMIZERS: dict[str, optim.Optimizer] = {
    "sgd, momentum": optim.SGD(0.1, momentum=0.9),
    "adam": optim.Adam(0.01),
    "sgd, nesterov": optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adamw": optim.AdamW(0.01),
    "rmsprop": optim.RMSProp(0.01),
    "adagrad": optim.AdaGrad(0.01),
}
IMAGES = "f32[N,3,12,12]"
PLAIN = optim.SGD(1.0)  # what a parameter loses is its gradient


def around(layer: nn.Layer) -> nn.Module:
    """The layer between two that have parameters, so that both of its gradients are asked for."""
    return nn.Sequential(nn.Conv(8, 3, padding=1), nn.Tanh(), layer, nn.Flatten(), nn.Dense(10))


def step_of(
    network: Any, type: Any, optimizer: optim.Optimizer, loss: str = "cross_entropy"
) -> tuple[Graph, dict[str, Array]]:
    """The graph of a training step, and the parameters it begins with."""
    model = gc.Model(network, type, loss, optimizer, backend="numpy")
    return model.graphs["train"], dict(model.params)


def inputs_of(graph: Graph, known: dict[str, Array], n: int, seed: int) -> dict[str, Array]:
    """Parameters as they are; data drawn anew, and what an optimiser remembers, from 0 to 1."""
    rng = np.random.default_rng(seed)
    found = random_inputs(graph, n, rng) | known
    for node in graph.inputs:
        name, tensor = node.attrs["name"], node.tensor
        if name not in known and node.attrs["kind"] != "data" and tensor.dtype.is_float:
            found[name] = rng.random(tensor.concrete(n)).astype(tensor.dtype.numpy)
    if "learning_rate" in found:
        found["learning_rate"] = np.float32(0.5)
    return found
