"""Convolution layers whose weights are the same everywhere in the image, and the transposed one.

Input channels are inferred from the input's shape when the network is traced. Parameter layouts and
defaults are PyTorch's: a Conv weight is (features, channels / groups, height, width). What an op
computes, and whether a window fits, is its op's business.
"""

from __future__ import annotations

import math

from graphc.base.errors import GraphcError
from graphc.ops import contractions, views
from graphc.tracing.tensor import Tensor, function
from graphc.tracing.trace import Initializer
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
from graphc_nn.connections import (
    BiasByMap,
    Connections,
    ConnectionTable,
    KernelsByMap,
    connection_table,
)
from graphc_nn.module import Layer
from graphc_nn.parameters import IMAGES, biased, channels_of, weight_of

FOUR_AXES = "reshape the input to four axes; {} comes before Flatten"

_conv2d = function(contractions.conv2d)
_conv2d_input_grad = function(contractions.conv2d_input_grad)


class Conv(Layer):
    """Convolution (correlation) of [N,C,H,W] to [N,features,H',W'].

    H' = (H - dilation (kernel - 1) - 1 + padding) / stride + 1, rounded down. kernel, stride and
    dilation: a number or (vertical, horizontal); padding: a number, (vertical, horizontal), (top,
    bottom, left, right), "valid" (none) or "same" (as much as keeps the size, an odd one more at
    the bottom and the right; stride 1). flip: true convolution, the kernel rotated by 180 degrees.
    connections: which input maps each output map reads, all if left out: rows of text, a row an
    input map, X or . for each output map (such as LENET5_CONNECTIONS), or for each output map a
    tuple of input maps.

    Parameters ``weight`` [features,C/groups,kernel...], or [connections,kernel...] in order of
    output map, then input map; and ``bias`` [features]. Raises GraphcError for arguments out of
    range; when traced, for an input that is no image, channels that do not divide into groups or
    are not those of the table.
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
        flip: bool = False,
        connections: Connections | None = None,
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
        self.flip = flag("Conv", "flip", flip)
        self.connections = (
            None if connections is None else connection_table(connections, self.features)
        )
        self.weight_initializer = initializer("Conv", "weight_initializer", weight_initializer)
        self.bias_initializer = initializer("Conv", "bias_initializer", bias_initializer)
        if self.features % self.groups:
            raise GraphcError(
                f"Conv: {self.features} features do not divide into {self.groups} groups",
                remedy="choose groups that divide the features",
            )
        if self.connections is not None and self.groups != 1:
            raise GraphcError(
                f"Conv: connections together with {self.groups} groups",
                remedy="leave groups out: a table can say what groups say",
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
        channels = channels_of(self, x, IMAGES, FOUR_AXES.format("Conv"))
        if channels % self.groups:
            raise GraphcError(
                f"Conv: {channels} input channels do not divide into {self.groups} groups",
                remedy="choose groups that divide the input's channels",
            )
        if self.connections is None:
            shape = (self.features, channels // self.groups, *self.kernel)
            weight = weight_of(self, shape, x, self.weight_initializer)
            bias_drawn = self.bias_initializer or initializers.torch_bias(math.prod(shape[1:]))
        else:
            weight = self._connected(self.connections, x, channels)
            bias_drawn = self.bias_initializer or BiasByMap(
                self.connections, math.prod(self.kernel)
            )
        if self.flip:
            weight = Tensor(views.reverse(weight.node, axes=(2, 3)))
        y = _conv2d(
            x,
            weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return biased(self, y, bias_drawn) if self.bias else y

    def _connected(self, table: ConnectionTable, x: Tensor, channels: int) -> Tensor:
        """The weight of a full convolution, made of the one that the connections hold."""
        fits = channels == table.channels if table.channels else channels >= table.least_channels
        if not fits:
            wanted = table.channels or f"at least {table.least_channels}"
            raise GraphcError(
                f"Conv: the input has {channels} channels, the table of connections {wanted}",
                remedy="give a table of as many input maps as the input has channels",
            )
        each = self.weight_initializer or initializers.torch_weight()
        drawn = KernelsByMap(table, channels, each)
        packed = weight_of(self, (table.count, *self.kernel), x, drawn)
        return table.spread(packed, channels)

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "stride": (shown(self.stride), "1"),
            "padding": (shown(self.padding), "0"),
            "dilation": (shown(self.dilation), "1"),
            "groups": (self.groups, 1),
            "bias": (self.bias, True),
            "flip": (self.flip, False),
            "connections": (self.connections, None),
        }
        return "Conv" + arguments_text((self.features, shown(self.kernel)), changed)


class ConvTranspose(Layer):
    """Transposed convolution of [N,C,H,W] to [N,features,H',W']: the gradient of a Conv's input.

    H' = (H - 1) stride - padding + dilation (kernel - 1) + output_padding + 1, with the padding of
    both sides. It enlarges by the stride; output_padding, below stride or dilation, chooses among
    the sizes that a Conv makes alike. padding as for `Conv`, without "same". Parameters ``weight``
    [C,features/groups,kernel...] and ``bias`` [features]. Raises GraphcError for arguments out of
    range; when traced, for an input that is no image, channels that do not divide into groups, or
    an output with nothing in it.
    """

    def __init__(
        self,
        features: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        output_padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        weight_initializer: Initializer | None = None,
        bias_initializer: Initializer | None = None,
    ) -> None:
        name = "ConvTranspose"
        self.features = whole(name, "features", features, 1)
        self.kernel = pair(name, "kernel", kernel, 1)
        self.stride = pair(name, "stride", stride, 1)
        self.padding = (0, 0, 0, 0) if padding == "valid" else padding4(name, padding)
        self.output_padding = pair(name, "output_padding", output_padding, 0)
        self.dilation = pair(name, "dilation", dilation, 1)
        self.groups = whole(name, "groups", groups, 1)
        self.bias = flag(name, "bias", bias)
        self.weight_initializer = initializer(name, "weight_initializer", weight_initializer)
        self.bias_initializer = initializer(name, "bias_initializer", bias_initializer)
        if self.features % self.groups:
            raise GraphcError(
                f"{name}: {self.features} features do not divide into {self.groups} groups",
                remedy="choose groups that divide the features",
            )
        steps = zip(self.output_padding, self.stride, self.dilation, strict=True)
        if any(more >= max(step, spread) for more, step, spread in steps):
            raise GraphcError(
                f"{name}: output_padding {shown(self.output_padding)} is not below the stride "
                f"{shown(self.stride)} or the dilation {shown(self.dilation)}",
                remedy="use a smaller output_padding; pad the result for more",
            )

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,features,H',W']."""
        channels = channels_of(self, x, IMAGES, FOUR_AXES.format("ConvTranspose"))
        if channels % self.groups:
            raise GraphcError(
                f"ConvTranspose: {channels} input channels do not divide into {self.groups} groups",
                remedy="choose groups that divide the input's channels",
            )
        shape = (channels, self.features // self.groups, *self.kernel)
        weight = weight_of(self, shape, x, self.weight_initializer)
        y = self._transposed(x, weight)
        drawn = self.bias_initializer or initializers.torch_bias(math.prod(shape[1:]))
        return biased(self, y, drawn) if self.bias else y

    def _transposed(self, x: Tensor, weight: Tensor) -> Tensor:
        """What output padding adds lies in the padding of the high side, and beyond it is 0."""
        low, high, beyond, size = [], [], [], []
        for axis, extent in enumerate(x.type.concrete(1)[2:]):
            before, after = self.padding[2 * axis : 2 * axis + 2]
            more = self.output_padding[axis]
            reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            low.append(before)
            high.append(max(after - more, 0))
            beyond.append(max(more - after, 0))
            size.append((extent - 1) * self.stride[axis] + reach - before - high[axis])
            if size[axis] < 1:
                raise GraphcError(
                    f"ConvTranspose: nothing is left of size {extent}: ({extent} - 1)*"
                    f"{self.stride[axis]} + {reach} - {before + after} + {more} = "
                    f"{size[axis] + beyond[axis]}",
                    remedy="use less padding, or a larger input",
                )
        y = _conv2d_input_grad(
            x,
            weight,
            size=tuple(size),
            stride=self.stride,
            padding=(low[0], high[0], low[1], high[1]),
            dilation=self.dilation,
            groups=self.groups,
        )
        return Tensor(views.pad(y.node, low=(0, 0, 0, 0), high=(0, 0, *beyond)))

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "stride": (shown(self.stride), "1"),
            "padding": (shown(self.padding), "0"),
            "output_padding": (shown(self.output_padding), "0"),
            "dilation": (shown(self.dilation), "1"),
            "groups": (self.groups, 1),
            "bias": (self.bias, True),
        }
        return "ConvTranspose" + arguments_text((self.features, shown(self.kernel)), changed)
