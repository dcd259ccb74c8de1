"""LeNet-5: the plain variant, and the one that was published.

LeCun et al., "Gradient-based learning applied to document recognition", 1998. Knows layers, nothing
of training.
"""

from __future__ import annotations

import graphc_nn as nn


def lenet5() -> nn.Sequential:
    """LeNet-5, plain variant, for 1x32x32 images and 10 classes: 61,706 parameters.

    With full connections, average pooling and tanh.
    """
    return nn.Sequential(
        nn.Conv(6, 5),
        nn.Tanh(),
        nn.AvgPool(2),
        nn.Conv(16, 5),
        nn.Tanh(),
        nn.AvgPool(2),
        nn.Flatten(),
        nn.Dense(120),
        nn.Tanh(),
        nn.Dense(84),
        nn.Tanh(),
        nn.Dense(10),
    )


def lenet5_original() -> nn.Sequential:
    """LeNet-5 as published, for 1x32x32 images and 10 classes: 60,840 parameters.

    C3 reads 60 of 96 pairs of maps, S2 and S4 have a trained coefficient and bias for each map, and
    the outputs are minus the squared distances to a trained code of each class, so that the largest
    is the nearest class. The 60,000 parameters below the codes are the paper's own figure.
    """
    return nn.Sequential(
        nn.Conv(6, 5),
        nn.ScaledTanh(),
        nn.Subsample(),
        nn.ScaledTanh(),
        nn.Conv(16, 5, connections=nn.LENET5_CONNECTIONS),
        nn.ScaledTanh(),
        nn.Subsample(),
        nn.ScaledTanh(),
        nn.Conv(120, 5),
        nn.ScaledTanh(),
        nn.Flatten(),
        nn.Dense(84),
        nn.ScaledTanh(),
        nn.RBF(10),
        nn.neg,
    )
