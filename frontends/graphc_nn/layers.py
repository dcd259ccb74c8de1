"""Layers with parameters and windows: convolution, dense, pooling, flatten.

Input channels are inferred from the input's shape when the network is traced. Parameter layouts and
defaults are PyTorch's: a Conv weight is (features, channels / groups, height, width), a Dense
weight (features, inputs). What an op computes, and whether a window fits, is its op's business.
"""

from __future__ import annotations

import math

from graphc.base.errors import GraphcError
from graphc.ir.types import Batch
from graphc.ops import contractions, pooling, views
from graphc.ops.elementwise import add
from graphc.tracing.tensor import Tensor, function
from graphc.tracing.trace import Initializer, current_trace
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
from graphc_nn.module import Layer

IMAGES = 4, "an image batch [N,channels,height,width]"
MATRIX = 2, "a matrix [N,inputs]"

_conv2d = function(contractions.conv2d)
_max_pool2d = function(pooling.max_pool2d)
_avg_pool2d = function(pooling.avg_pool2d)
_flatten = function(views.flatten)


class Conv(Layer):
    """Convolution (correlation) of [N,C,H,W] to [N,features,H',W'].

    H' = (H - dilation (kernel - 1) - 1 + padding) / stride + 1, rounded down. kernel, stride and
    dilation: a number or (vertical, horizontal); padding: a number, (vertical, horizontal), (top,
    bottom, left, right), "valid" (none) or "same" (as much as keeps the size; stride 1). Parameters
    ``weight`` [features,C/groups,kernel...] and ``bias`` [features]. Raises GraphcError for
    arguments out of range; when traced, for an input that is no image or channels that do not
    divide into groups.
    """

    def __init__(
        self,
        features: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        weight_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
    ) -> None:
        self.features = whole("Conv", "features", features, 1)
        self.kernel = pair("Conv", "kernel", kernel, 1)
        self.stride = pair("Conv", "stride", stride, 1)
        self.dilation = pair("Conv", "dilation", dilation, 1)
        self.padding = self._padding(padding)
        self.groups = whole("Conv", "groups", groups, 1)
        self.bias = flag("Conv", "bias", bias)
        self.weight_initializer = initializer("Conv", "weight_initializer", weight_initializer)
        self.bias_initializer = initializer("Conv", "bias_initializer", bias_initializer)
        if self.features % self.groups:
            raise GraphcError(
                f"Conv: {self.features} features do not divide into {self.groups} groups",
                remedy="choose groups that divide the features",
            )

    def _padding(self, padding: Padding) -> tuple[int, int, int, int]:
        if padding == "valid":
            return 0, 0, 0, 0
        if padding != "same":
            return padding4("Conv", padding)
        if self.stride != (1, 1):
            raise GraphcError(
                f'Conv: padding "same" with stride {shown(self.stride)}',
                remedy="give the padding as a number; only stride 1 can keep the size",
            )
        vertical, horizontal = (
            d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)
        )
        top, left = vertical // 2, horizontal // 2
        return top, vertical - top, left, horizontal - left

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,features,H',W']."""
        channels = _channels(
            self, x, IMAGES, "reshape the input to four axes; Conv comes before Flatten"
        )
        if channels % self.groups:
            raise GraphcError(
                f"Conv: {channels} input channels do not divide into {self.groups} groups",
                remedy="choose groups that divide the input's channels",
            )
        shape = (self.features, channels // self.groups, *self.kernel)
        weight = _weight(self, shape, x, self.weight_initializer)
        y = _conv2d(
            x,
            weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return _biased(self, y, math.prod(shape[1:]), self.bias, self.bias_initializer)

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "stride": (shown(self.stride), "1"),
            "padding": (shown(self.padding), "0"),
            "dilation": (shown(self.dilation), "1"),
            "groups": (self.groups, 1),
            "bias": (self.bias, True),
        }
        return "Conv" + arguments_text((self.features, shown(self.kernel)), changed)


class Dense(Layer):
    """y = x W^T + b on [N,inputs], giving [N,features].

    Parameters ``weight`` [features,inputs] and ``bias`` [features]. Raises GraphcError for
    arguments out of range; when traced, for an input that is not a matrix.
    """

    def __init__(
        self,
        features: int,
        bias: bool = True,
        *,
        weight_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
    ) -> None:
        self.features = whole("Dense", "features", features, 1)
        self.bias = flag("Dense", "bias", bias)
        self.weight_initializer = initializer("Dense", "weight_initializer", weight_initializer)
        self.bias_initializer = initializer("Dense", "bias_initializer", bias_initializer)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,inputs] -> [N,features]."""
        inputs = _channels(self, x, MATRIX, "put Flatten() before Dense")
        weight = _weight(self, (self.features, inputs), x, self.weight_initializer)
        y = x @ weight.T
        return _biased(self, y, inputs, self.bias, self.bias_initializer)

    def __repr__(self) -> str:
        return "Dense" + arguments_text((self.features,), {"bias": (self.bias, True)})


class _Pool(Layer):
    """What both poolings share: window, stride (the window's by default), padding, ceil_mode."""

    def __init__(
        self,
        window: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
    ) -> None:
        name = type(self).__name__
        self.window = pair(name, "window", window, 1)
        self.stride = self.window if stride is None else pair(name, "stride", stride, 1)
        self.padding = padding4(name, padding)
        self.ceil_mode = flag(name, "ceil_mode", ceil_mode)

    def _image(self, x: Tensor) -> Tensor:
        _channels(self, x, IMAGES, "pool before Flatten")
        return x

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "stride": (shown(self.stride), shown(self.window)),
            "padding": (shown(self.padding), "0"),
            "ceil_mode": (self.ceil_mode, False),
        }
        return type(self).__name__ + arguments_text((shown(self.window),), changed)


class MaxPool(_Pool):
    """The maximum of each window of [N,C,H,W].

    window and stride: a number or (vertical, horizontal); the stride is the window if left out.
    ceil_mode: a last window that starts inside the input counts too. Raises GraphcError for
    arguments out of range; when traced, for an input that is no image or is too small.
    """

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,H',W']."""
        return _max_pool2d(
            self._image(x),
            window=self.window,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
        )


class AvgPool(_Pool):
    """The mean of each window of [N,C,H,W]; padding counts as zeros, as in PyTorch.

    Arguments as for `MaxPool`.
    """

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,H',W']."""
        return _avg_pool2d(
            self._image(x),
            window=self.window,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
        )


class Flatten(Layer):
    """All axes but the first joined into one: [N,...] to [N,inputs]."""

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,...] -> [N,inputs]."""
        if len(x.shape) < 2:
            raise GraphcError(
                f"Flatten: {x.type} has nothing but its first axis",
                remedy="give a tensor of at least two axes",
            )
        return _flatten(x)

    def __repr__(self) -> str:
        return "Flatten()"


def _channels(layer: Layer, x: Tensor, wanted: tuple[int, str], remedy: str) -> int:
    """The extent of axis 1 of a float input of the wanted (number of axes, meaning)."""
    name = type(layer).__name__
    rank, meaning = wanted
    if len(x.shape) != rank:
        raise GraphcError(
            f"{name}: the input {x.type} has {len(x.shape)} axes, not {rank}: it needs {meaning}",
            node=repr(layer),
            remedy=remedy,
        )
    if not x.dtype.is_float:
        raise GraphcError(
            f"{name}: the input {x.type} is not of a float dtype",
            node=repr(layer),
            remedy="feed f32 (or f64), or cast inside the network",
        )
    extent = x.shape[1]
    if isinstance(extent, Batch):
        raise GraphcError(
            f"{name}: axis 1 of the input {x.type} is the batch", remedy="put N first"
        )
    return extent


def _weight(layer: Layer, shape: tuple[int, ...], x: Tensor, given: Initializer | None) -> Tensor:
    drawn = given or initializers.torch_weight()
    return current_trace().parameter(layer, "weight", shape, drawn, x.dtype)


def _biased(
    layer: Layer, y: Tensor, fan_in: int, wanted: bool, given: Initializer | None
) -> Tensor:
    """`y` plus the layer's bias along axis 1."""
    if not wanted:
        return y
    features = y.shape[1]
    drawn = given or initializers.torch_bias(fan_in)
    bias = current_trace().parameter(layer, "bias", (features,), drawn, y.dtype)
    spread = views.broadcast(bias.node, shape=y.shape, axes=(1,))
    return Tensor(add(y.node, spread))
