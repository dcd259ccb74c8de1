"""Locally connected layers: convolution without shared weights, or shared within blocks only.

What the op computes is its business; this file knows the parameters and how they are drawn.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from graphc.ir.types import window_extent
from graphc.ops import locally_connected, views
from graphc.tracing.tensor import Tensor, function
from graphc.tracing.trace import Array, Initializer, current_trace
from graphc_nn import initializers
from graphc_nn.arguments import (
    Padding,
    Pair,
    arguments_text,
    flag,
    initializer,
    padding4,
    pair,
    shown,
    whole,
)
from graphc_nn.convolution import FOUR_AXES
from graphc_nn.module import Layer
from graphc_nn.parameters import IMAGES, channels_of, weight_of

_local_conv2d = function(locally_connected.local_conv2d)


class LocallyConnected(Layer):
    """As a Conv from [N,C,H,W] to [N,features,H',W'], with weights of its own at every position.

    block: output positions that share weights and bias, a number or (vertical, horizontal); the
    last block of a row or column may be cut off. kernel, stride and padding as for `Conv`, without
    "same". Parameters ``weight`` [blocks down,blocks across,features,C,kernel...], a Conv's weight
    for each block, and ``bias`` [features,blocks down,blocks across]; Keras keeps its kernel as
    [positions,kernel * kernel * C,features]. Raises GraphcError for arguments out of range; when
    traced, for an input that is no image or is too small.
    """

    def __init__(
        self,
        features: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        bias: bool = True,
        block: Pair = 1,
        *,
        weight_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
    ) -> None:
        name = "LocallyConnected"
        self.features = whole(name, "features", features, 1)
        self.kernel = pair(name, "kernel", kernel, 1)
        self.stride = pair(name, "stride", stride, 1)
        self.padding = (0, 0, 0, 0) if padding == "valid" else padding4(name, padding)
        self.bias = flag(name, "bias", bias)
        self.block = pair(name, "block", block, 1)
        self.weight_initializer = initializer(name, "weight_initializer", weight_initializer)
        self.bias_initializer = initializer(name, "bias_initializer", bias_initializer)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,features,H',W']."""
        channels = channels_of(self, x, IMAGES, FOUR_AXES.format("LocallyConnected"))
        top, bottom, left, right = self.padding
        size = [
            window_extent(
                extent,
                self.kernel[axis],
                stride=self.stride[axis],
                low=self.padding[2 * axis],
                high=self.padding[2 * axis + 1],
                what="LocallyConnected",
            )
            for axis, extent in enumerate(x.type.concrete(1)[2:])
        ]
        places = locally_connected.blocks(size, self.block)
        each = self.weight_initializer or initializers.torch_weight()
        shape = (*places, self.features, channels, *self.kernel)
        weight = weight_of(self, shape, x, AtEachPlace(each))
        padded = Tensor(views.pad(x.node, low=(0, 0, top, left), high=(0, 0, bottom, right)))
        y = _local_conv2d(padded, weight, stride=self.stride, block=self.block)
        return self._biased(y, places, channels) if self.bias else y

    def _biased(self, y: Tensor, places: tuple[int, int], channels: int) -> Tensor:
        """`y` plus the bias of each map and block, repeated within the block."""
        fan_in = channels * self.kernel[0] * self.kernel[1]
        drawn = self.bias_initializer or initializers.torch_bias(fan_in)
        shape = (self.features, *places)
        bias = current_trace().parameter(self, "bias", shape, drawn, y.dtype).node
        if self.block == (1, 1):
            return y + Tensor(bias)
        (down, across), (tall, wide) = places, self.block
        spread = (self.features, down, tall, across, wide)
        repeated = views.broadcast(bias, shape=spread, axes=(0, 1, 3))
        joined = views.reshape(repeated, shape=(self.features, down * tall, across * wide))
        height, width = y.type.concrete(1)[2:]
        return y + Tensor(views.slice(joined, start=(0, 0, 0), stop=(None, height, width)))

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "stride": (shown(self.stride), "1"),
            "padding": (shown(self.padding), "0"),
            "bias": (self.bias, True),
            "block": (shown(self.block), "1"),
        }
        return "LocallyConnected" + arguments_text((self.features, shown(self.kernel)), changed)


@dataclass(frozen=True)
class AtEachPlace:
    """Draws the weight of each block as that of a Conv."""

    each: Initializer

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        down, across, *one = shape
        drawn = np.empty(shape, np.float32)
        for place in itertools.product(range(down), range(across)):
            drawn[place] = self.each(tuple(one), generator)
        return drawn
