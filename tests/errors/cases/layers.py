"""Layers and networks: their arguments, and the inputs that they are given."""

from __future__ import annotations

import numpy as np

import graphc as gc
from graphc import nn
from graphc_nn import initializers
from graphc_nn.pretraining import Pretraining, pretrain, pretrain_pairs

IMAGE, MATRIX = "f32[N,4,6,6]", "f32[N,5]"
SAMPLES, QUICK = np.zeros((4, 5), np.float32), Pretraining(epochs=0, backend="numpy")
TWO = nn.Sequential(nn.Dense(3), nn.Dense(2))


class Wide(nn.Module):
    """Two Dense layers in one."""

    def __init__(self) -> None:
        self.layers = [nn.Dense(3), nn.Dense(2)]

    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        return self.layers[1](self.layers[0](x))


CASES = (
    # arguments
    lambda folder: nn.Conv(0, 3),
    lambda folder: nn.Conv(4, (3, 0)),
    lambda folder: nn.Conv(4, 3, padding=-1),
    lambda folder: nn.Dropout(1.0),
    lambda folder: nn.Dense(3, bias=1),
    lambda folder: nn.Dense(3, weight_initializer=0.5),
    lambda folder: nn.GELU("sigmoid"),
    lambda folder: nn.Softmax(axis=0.5),
    lambda folder: nn.LocalContrastNorm(sigma=0.0),
    lambda folder: nn.Sparsity(rho=0.0),
    lambda folder: nn.L1(0.1, lambda x: x),
    lambda folder: nn.L1(0.1, nn.Dense(3), "weight"),
    lambda folder: nn.L1(0.1, nn.Dense(2), "weight"),
    lambda folder: nn.RoIMaxPool(2, scale=0.0),
    lambda folder: nn.Siamese(nn.Dense),
    lambda folder: nn.TiedDense(5),
    lambda folder: nn.Reshape(2, -1, -1),
    lambda folder: nn.Upsample(2, mode="cubic"),
    lambda folder: nn.Concat(),
    lambda folder: nn.Sequential(nn.ReLU),
    lambda folder: nn.Sequential(3),
    # convolution
    lambda folder: nn.Conv(4, 3, groups=3),
    lambda folder: nn.Conv(4, 3, groups=2, connections=["X.X.", ".X.X"]),
    lambda folder: nn.Conv(4, 3, stride=2, padding="same"),
    lambda folder: gc.trace(nn.Conv(6, 3, groups=3), IMAGE),
    lambda folder: gc.trace(nn.Conv(2, 3, connections=["X.", ".X"]), IMAGE),
    lambda folder: nn.Conv(2, 3, connections=()),
    lambda folder: nn.Conv(2, 3, connections=["X.", "X."]),
    lambda folder: nn.Conv(3, 3, connections=["X.", ".X"]),
    lambda folder: nn.Conv(2, 3, connections=["X.", "XX."]),
    lambda folder: nn.Conv(2, 3, connections=[(0, 1), 2]),
    lambda folder: nn.Conv(2, 3, connections=[(0, 1), (-1,)]),
    lambda folder: nn.Conv(2, 3, connections=[(0, 1), (1, 1)]),
    lambda folder: nn.ConvTranspose(4, 3, groups=3),
    lambda folder: nn.ConvTranspose(4, 3, output_padding=1),
    lambda folder: gc.trace(nn.ConvTranspose(6, 3, groups=3), IMAGE),
    lambda folder: gc.trace(nn.ConvTranspose(4, 1, padding=3), IMAGE),
    # what layers are given
    lambda folder: nn.Dense(3)(SAMPLES),
    lambda folder: gc.trace(nn.Dense(3), IMAGE),
    lambda folder: gc.trace(nn.Dense(3), "i32[N,5]"),
    lambda folder: gc.trace(nn.Dense(3), "f32[5,N]"),
    lambda folder: gc.trace(nn.TiedDense(nn.Dense(3)), MATRIX),
    lambda folder: gc.trace(nn.Sequential(e := nn.Dense(3), nn.Dense(2), nn.TiedDense(e)), MATRIX),
    lambda folder: gc.trace(nn.InstanceNorm(), MATRIX),
    lambda folder: gc.trace(nn.GroupNorm(3), IMAGE),
    lambda folder: gc.trace(nn.BatchNorm(), "f32[N]"),
    lambda folder: gc.trace(nn.L1(0.1, nn.ReLU()), MATRIX, training=True),
    lambda folder: gc.trace(nn.Flatten(), "f32[N]"),
    lambda folder: gc.trace(nn.Reshape(2), "f32[]"),
    lambda folder: gc.trace(nn.Reshape(2), "f32[2,N]"),
    lambda folder: gc.trace(nn.Reshape(2, -1), MATRIX),
    lambda folder: gc.trace(nn.Crop(3), IMAGE),
    lambda folder: gc.trace(nn.Residual(nn.Conv(4, 3)), IMAGE),
    lambda folder: gc.trace(nn.Residual(lambda x: 1.0), IMAGE),
    # initialisers
    lambda folder: initializers.constant(float("inf")),
    lambda folder: initializers.from_array([1.0, float("nan")]),
    lambda folder: initializers.xavier_normal()((3,), np.random.default_rng(0)),
    lambda folder: initializers.xavier_normal("out"),
    lambda folder: initializers.normal(-1.0),
    # networks
    lambda folder: gc.zoo.parse(29),
    lambda folder: gc.zoo.parse("29x29-20C4"),
    lambda folder: gc.zoo.parse("1x29x29-20D4"),
    lambda folder: gc.zoo.parse("1x29x29-10N-MP2"),
    lambda folder: gc.zoo.parse("1x9x9-20C10"),
    lambda folder: gc.zoo.pyramid_cnn(stages=9),
    lambda folder: gc.zoo.resnet18(classes=0),
    lambda folder: gc.trace(gc.zoo.lenet5(), "f32[N,1,8,8]"),
    # pretraining
    lambda folder: pretrain({"a": nn.Dense(2)}, np.zeros((2, 3, 3)), QUICK),
    lambda folder: pretrain(TWO, SAMPLES, 3),
    lambda folder: pretrain(nn.Dense(2), SAMPLES, QUICK),
    lambda folder: pretrain(nn.Sequential(nn.Dense(2)), SAMPLES, QUICK),
    lambda folder: pretrain({"a": Wide()}, SAMPLES, QUICK, tied=True),
    lambda folder: pretrain(nn.Sequential(nn.BatchNorm(), *TWO), SAMPLES, QUICK),
    lambda folder: pretrain_pairs({}, {}, SAMPLES, np.zeros(4, int), QUICK),
)  # fmt: skip
