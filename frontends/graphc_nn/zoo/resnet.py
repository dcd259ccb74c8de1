"""Residual networks of 18 to 152 layers.

He et al., "Deep residual learning for image recognition", 2015, with the stride of a bottleneck in
its 3x3 convolution, as PyTorch's. Knows layers, nothing of training.
"""

from __future__ import annotations

import graphc_nn as nn
from graphc.tracing.tensor import Tensor

EXPANSION = 4


class ResidualBlock(nn.Module):
    """relu(f(x) + d(x)): two 3x3 convolutions, or a bottleneck of 1x1, 3x3, 1x1.

    width: features of the convolutions inside; the bottleneck's last has four times as many. d is
    the identity, or a 1x1 convolution where size or features change (`projected`).
    """

    def __init__(self, width: int, stride: int, bottleneck: bool, projected: bool) -> None:
        if bottleneck:
            features = EXPANSION * width
            self.f = nn.Sequential(
                *_normalised(width, 1),
                nn.ReLU(),
                *_normalised(width, 3, stride),
                nn.ReLU(),
                *_normalised(features, 1),
            )
        else:
            features = width
            self.f = nn.Sequential(
                *_normalised(width, 3, stride), nn.ReLU(), *_normalised(width, 3)
            )
        self.d = nn.Sequential(*(_normalised(features, 1, stride) if projected else ()))

    def __call__(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.f(x) + self.d(x))


def resnet18(classes: int = 1000) -> nn.Sequential:
    """ResNet-18 for 3x224x224 images and 1000 classes: 11,689,512 parameters."""
    return _resnet((2, 2, 2, 2), False, classes)


def resnet34(classes: int = 1000) -> nn.Sequential:
    """ResNet-34 for 3x224x224 images and 1000 classes: 21,797,672 parameters."""
    return _resnet((3, 4, 6, 3), False, classes)


def resnet50(classes: int = 1000) -> nn.Sequential:
    """ResNet-50 for 3x224x224 images and 1000 classes: 25,557,032 parameters."""
    return _resnet((3, 4, 6, 3), True, classes)


def resnet101(classes: int = 1000) -> nn.Sequential:
    """ResNet-101 for 3x224x224 images and 1000 classes: 44,549,160 parameters."""
    return _resnet((3, 4, 23, 3), True, classes)


def resnet152(classes: int = 1000) -> nn.Sequential:
    """ResNet-152 for 3x224x224 images and 1000 classes: 60,192,808 parameters."""
    return _resnet((3, 8, 36, 3), True, classes)


def _resnet(blocks: tuple[int, ...], bottleneck: bool, classes: int) -> nn.Sequential:
    """blocks: how many there are of each width; every width after the first halves the image."""
    front = (
        nn.Conv(64, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.MaxPool(3, stride=2, padding=1),
    )
    middle = []
    for level, count in enumerate(blocks):
        for position in range(count):
            first = position == 0
            stride = 2 if first and level else 1
            projected = first and (bottleneck or stride != 1)
            middle.append(ResidualBlock(64 * 2**level, stride, bottleneck, projected))
    return nn.Sequential(*front, *middle, nn.GlobalAvgPool(), nn.Flatten(), nn.Dense(classes))


def _normalised(features: int, kernel: int, stride: int = 1) -> tuple[nn.Layer, nn.Layer]:
    """A convolution that keeps the size but for its stride, and its normalisation."""
    conv = nn.Conv(features, kernel, stride=stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm()
