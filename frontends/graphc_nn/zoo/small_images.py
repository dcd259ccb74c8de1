"""A few convolutions for small images: digits, objects and scenes.

Knows layers, nothing of training.
"""

from __future__ import annotations

import numpy as np

import graphc_nn as nn
from graphc.tracing.trace import Array

STROKES = np.array(
    [
        [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]],
        [[1, -1, 1], [-1, 1, -1], [1, -1, 1]],
        [[-1, -1, 1], [-1, 1, -1], [1, -1, -1]],
    ],
    np.float32,
)


def x_or_o() -> nn.Sequential:
    """Tells X from O in a 1x9x9 image of -1 and 1: 125 parameters.

    Its three filters begin as a falling stroke, a crossing and a rising stroke; each map is the
    mean of the products, 1 where a stroke fits exactly.
    """
    return nn.Sequential(
        nn.Conv(3, 3, bias=False, weight_initializer=_strokes),
        nn.ReLU(),
        nn.MaxPool(2, ceil_mode=True),
        nn.Flatten(),
        nn.Dense(2),
    )


def cifar_small() -> nn.Sequential:
    """12@5x5, pool 2, 24@5x5, pool 2, 10 with ReLU, for 3x32x32 images: 14,146 parameters."""
    return nn.Sequential(*_stage(12, 5), *_stage(24, 5), nn.Flatten(), nn.Dense(10))


def stl10() -> nn.Sequential:
    """12@5-P2-24@3-P2-16@5-P2-4 with ReLU, for 3x96x96 images of 4 classes: 18,332 parameters."""
    return nn.Sequential(*_stage(12, 5), *_stage(24, 3), *_stage(16, 5), nn.Flatten(), nn.Dense(4))


def caltech101() -> nn.Sequential:
    """12@5-P2-24@3-P2-20@5-P2-16@5-P2-10 with ReLU, for 3x200x200 images: 36,534 parameters."""
    return nn.Sequential(
        *_stage(12, 5),
        *_stage(24, 3),
        *_stage(20, 5),
        *_stage(16, 5),
        nn.Flatten(),
        nn.Dense(10),
    )


def convnetjs_cifar10() -> nn.Sequential:
    """The CIFAR-10 network of ConvNetJS, for 3x32x32 images: 22,466 parameters.

    Karpathy's demonstration: 16, 20 and 20 filters of 5x5 with padding 2, each with ReLU and
    pooling.
    """
    return nn.Sequential(
        *_stage(16, 5, 2), *_stage(20, 5, 2), *_stage(20, 5, 2), nn.Flatten(), nn.Dense(10)
    )


def tf_tutorial() -> nn.Sequential:
    """TensorFlow's tutorial network for 1x28x28 digits: 1,663,370 parameters.

    32 and 64 filters of 5x5 that keep the size, 512 hidden units with dropout 0.5; trained with
    momentum 0.9.
    """
    return nn.Sequential(
        *_stage(32, 5, "same"),
        *_stage(64, 5, "same"),
        nn.Flatten(),
        nn.Dense(512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Dense(10),
    )


def simplenet() -> nn.Sequential:
    """SimpleNet for 1x64x64 images of 15 kinds of scenes: 56,895 parameters.

    10@5, pool 3, ReLU, 20@5, pool 3, ReLU give 500 features; then 500-100-15.
    """
    return nn.Sequential(
        nn.Conv(10, 5),
        nn.MaxPool(3),
        nn.ReLU(),
        nn.Conv(20, 5),
        nn.MaxPool(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dense(100),
        nn.ReLU(),
        nn.Dense(15),
    )


def _stage(features: int, kernel: int, padding: int | str = 0) -> tuple[nn.Layer, ...]:
    return nn.Conv(features, kernel, padding=padding), nn.ReLU(), nn.MaxPool(2)


def _strokes(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    return (STROKES / 9).reshape(shape)
