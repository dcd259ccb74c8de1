"""Multilayer perceptrons: networks of dense layers alone. Knows layers, nothing of training."""

from __future__ import annotations

import graphc_nn as nn


def sigmoid_2_2_2() -> nn.Sequential:
    """Two inputs, two hidden units and two outputs, all sigmoid: 12 parameters."""
    return nn.Sequential(nn.Dense(2), nn.Sigmoid(), nn.Dense(2), nn.Sigmoid())


def mlp() -> nn.Sequential:
    """784-256-128-10 with ReLU, for 1x28x28 images: 235,146 parameters."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dense(256),
        nn.ReLU(),
        nn.Dense(128),
        nn.ReLU(),
        nn.Dense(10),
    )


def deeptraffic() -> nn.Sequential:
    """19 readings of a road to the values of 5 actions, through one hidden unit: 30 parameters.

    The network that the DeepTraffic simulator of MIT's course 6.S094 begins with.
    """
    return nn.Sequential(nn.Dense(1), nn.ReLU(), nn.Dense(5))
