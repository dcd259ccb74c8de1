"""Networks by name: ``zoo.lenet5()``. Each builder returns a fresh network of `graphc_nn` layers.

Layer order is that of the usual PyTorch spelling, so that parameter names equal its state_dict's.
`NETWORKS` lists them with the input they are for. Nothing here trains or compiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from graphc_nn.activations import ReLU, Sigmoid, Tanh
from graphc_nn.layers import AvgPool, Conv, Dense, Flatten, MaxPool
from graphc_nn.module import Sequential


def lenet5() -> Sequential:
    """LeNet-5, plain variant, for 1x32x32 images and 10 classes: 61,706 parameters.

    LeCun et al., "Gradient-based learning applied to document recognition", 1998, with full
    connections, average pooling and tanh.
    """
    return Sequential(
        Conv(6, 5),
        Tanh(),
        AvgPool(2),
        Conv(16, 5),
        Tanh(),
        AvgPool(2),
        Flatten(),
        Dense(120),
        Tanh(),
        Dense(84),
        Tanh(),
        Dense(10),
    )


def mlp() -> Sequential:
    """784-256-128-10 with ReLU, for 1x28x28 images: 235,146 parameters."""
    return Sequential(Flatten(), Dense(256), ReLU(), Dense(128), ReLU(), Dense(10))


def cifar_small() -> Sequential:
    """12@5x5, pool 2, 24@5x5, pool 2, 10 with ReLU, for 3x32x32 images: 14,146 parameters."""
    return Sequential(
        Conv(12, 5), ReLU(), MaxPool(2), Conv(24, 5), ReLU(), MaxPool(2), Flatten(), Dense(10)
    )


def mcdnn() -> Sequential:
    """One column 20C4-MP2-40C5-MP3-150N-10N with tanh, for 1x29x29 images: 76,040 parameters.

    Ciresan et al., "Multi-column deep neural networks for image classification", 2012.
    """
    return Sequential(
        Conv(20, 4),
        Tanh(),
        MaxPool(2),
        Conv(40, 5),
        Tanh(),
        MaxPool(3),
        Flatten(),
        Dense(150),
        Tanh(),
        Dense(10),
    )


def autoencoder() -> Sequential:
    """784-784-784-10 with sigmoid, for 1x28x28 images: 1,238,730 parameters."""
    return Sequential(Flatten(), Dense(784), Sigmoid(), Dense(784), Sigmoid(), Dense(10))


def sigmoid_2_2_2() -> Sequential:
    """Two inputs, two hidden units and two outputs, all sigmoid: 12 parameters."""
    return Sequential(Dense(2), Sigmoid(), Dense(2), Sigmoid())


class Network(NamedTuple):
    """A builder, the type of the input it is for, and what it is in a line."""

    build: Callable[[], Sequential]
    input_type: str
    description: str


NETWORKS: dict[str, Network] = {
    "lenet5": Network(lenet5, "f32[N,1,32,32]", "LeNet-5, plain variant: tanh, average pooling"),
    "mlp": Network(mlp, "f32[N,1,28,28]", "784-256-128-10 with ReLU"),
    "cifar_small": Network(cifar_small, "f32[N,3,32,32]", "two convolutions for 32x32 RGB images"),
    "mcdnn": Network(mcdnn, "f32[N,1,29,29]", "one column of a multi-column network"),
    "autoencoder": Network(autoencoder, "f32[N,1,28,28]", "784-784-784-10 with sigmoid"),
    "sigmoid_2_2_2": Network(sigmoid_2_2_2, "f32[N,2]", "the two-layer worked example"),
}
