"""A fully convolutional network that says where people look. Knows layers, nothing of training."""

from __future__ import annotations

import graphc_nn as nn


def saliency_fcn(width: int = 4096) -> nn.Sequential:
    """Eleven layers from a 3x224x224 image to 256 maps of its size: 145,478,016 parameters.

    Pan and Jiang, "Supervised adversarial networks for image saliency detection", 2017: five 3x3
    convolutions, each with pooling, lead to 7x7 maps; a 7x7 convolution (with padding 3, which
    keeps the size) and two 1x1 ones stay there; three transposed convolutions lead by 14 and 28
    back to 224. width: of the first two that stay.
    """
    stages = [
        layer
        for features in (64, 128, 256, 512, 512)
        for layer in (nn.Conv(features, 3, padding=1), nn.ReLU(), nn.MaxPool(2))
    ]
    return nn.Sequential(
        *stages,
        nn.Conv(width, 7, padding=3),
        nn.ReLU(),
        nn.Conv(width, 1),
        nn.ReLU(),
        nn.Conv(256, 1),
        nn.ReLU(),
        nn.ConvTranspose(512, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose(256, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose(256, 16, stride=8, padding=4),
    )
