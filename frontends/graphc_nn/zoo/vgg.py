"""VGG-16: stacks of 3x3 convolutions. Knows layers, nothing of training."""

from __future__ import annotations

from collections.abc import Iterator

import graphc_nn as nn
from graphc_nn.zoo.alexnet import classifier

STACKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
STRIDE = 2 ** len(STACKS)


def vgg16(classes: int = 1000) -> nn.Sequential:
    """VGG-16 for 3x224x224 images and 1000 classes: 138,357,544 parameters.

    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition",
    2014, configuration D.
    """
    return nn.Sequential(*features(), *classifier(classes))


def features() -> Iterator[nn.Layer]:
    """The convolutional part: each stack ends with a pooling that halves the image."""
    for stack in STACKS:
        for width in stack:
            yield nn.Conv(width, 3, padding=1)
            yield nn.ReLU()
        yield nn.MaxPool(2)
