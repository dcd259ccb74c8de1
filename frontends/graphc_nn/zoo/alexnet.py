"""AlexNet and its successor ZFNet. Knows layers, nothing of training.

The paper's recipe: SGD of rate 0.01, momentum 0.9 and weight decay 5e-4 on 227x227 crops.
"""

from __future__ import annotations

import graphc_nn as nn


def alexnet(classes: int = 1000) -> nn.Sequential:
    """AlexNet for 3x227x227 images and 1000 classes: 60,965,224 parameters.

    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
    networks", 2012: its two halves are groups of the convolutions.
    """
    return nn.Sequential(
        nn.Conv(96, 11, stride=4),
        nn.ReLU(),
        nn.LocalResponseNorm(),
        nn.MaxPool(3, stride=2),
        nn.Conv(256, 5, padding=2, groups=2),
        nn.ReLU(),
        nn.LocalResponseNorm(),
        nn.MaxPool(3, stride=2),
        nn.Conv(384, 3, padding=1),
        nn.ReLU(),
        nn.Conv(384, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv(256, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool(3, stride=2),
        *classifier(classes),
    )


def zfnet(classes: int = 1000) -> nn.Sequential:
    """ZFNet for 3x224x224 images and 1000 classes: 107,627,624 parameters.

    Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2013, the larger
    variant: AlexNet without groups, with 96 filters of 7x7 and stride 2 in front, and 512, 1024 and
    512 maps in layers 3 to 5.
    """
    return nn.Sequential(
        nn.Conv(96, 7, stride=2, padding=1),
        nn.ReLU(),
        nn.LocalResponseNorm(),
        nn.MaxPool(3, stride=2, ceil_mode=True),
        nn.Conv(256, 5, stride=2),
        nn.ReLU(),
        nn.LocalResponseNorm(),
        nn.MaxPool(3, stride=2, ceil_mode=True),
        nn.Conv(512, 3, padding=1),
        nn.ReLU(),
        nn.Conv(1024, 3, padding=1),
        nn.ReLU(),
        nn.Conv(512, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool(3, stride=2),
        *classifier(classes),
    )


def classifier(classes: int) -> tuple[nn.Layer, ...]:
    """The end of AlexNet, ZFNet and VGG-16: 4096-4096-classes with dropout."""
    return (
        nn.Flatten(),
        nn.Dense(4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Dense(4096),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Dense(classes),
    )
