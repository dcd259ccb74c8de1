"""Pooling layers: each window, or each bin, of an image batch gives one number.

Whether a window fits is its op's business; regions of interest are pooled in `regions`.
"""

from __future__ import annotations

from graphc.ops import pooling
from graphc.tracing.tensor import Tensor, function
from graphc_nn.arguments import Pair, arguments_text, flag, padding4, pair, shown, whole
from graphc_nn.module import Layer
from graphc_nn.parameters import IMAGES, channels_of, scaled

_max_pool2d = function(pooling.max_pool2d)
_avg_pool2d = function(pooling.avg_pool2d)
_l2_pool2d = function(pooling.l2_pool2d)
_adaptive_avg_pool2d = function(pooling.adaptive_avg_pool2d)


class _Pool(Layer):
    """What poolings over windows share: window, stride (the window's by default), padding."""

    def __init__(self, window: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        name = type(self).__name__
        self.window = pair(name, "window", window, 1)
        self.stride = self.window if stride is None else pair(name, "stride", stride, 1)
        self.padding = padding4(name, padding)

    def _image(self, x: Tensor) -> Tensor:
        channels_of(self, x, IMAGES, "pool before Flatten")
        return x

    def _options(self) -> dict[str, tuple[object, object]]:
        """Arguments beyond window, stride and padding: (value, default) of each."""
        return {}

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "stride": (shown(self.stride), shown(self.window)),
            "padding": (shown(self.padding), "0"),
        }
        return type(self).__name__ + arguments_text(
            (shown(self.window),), changed | self._options()
        )


class MaxPool(_Pool):
    """The maximum of each window of [N,C,H,W].

    window and stride: a number or (vertical, horizontal); the stride is the window if left out.
    padding: a number, (vertical, horizontal) or (top, bottom, left, right), below the window.
    ceil_mode: a last window that starts inside the input counts too. Raises GraphcError for
    arguments out of range; when traced, for an input that is no image or is too small.
    """

    def __init__(
        self,
        window: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(window, stride, padding)
        self.ceil_mode = flag("MaxPool", "ceil_mode", ceil_mode)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,H',W']."""
        return _max_pool2d(
            self._image(x),
            window=self.window,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
        )

    def _options(self) -> dict[str, tuple[object, object]]:
        return {"ceil_mode": (self.ceil_mode, False)}


class AvgPool(_Pool):
    """The mean of each window of [N,C,H,W].

    count_include_pad: padding counts as zeros, as in PyTorch; without it the mean is of what is
    inside the input. What `ceil_mode` adds never counts. Other arguments as for `MaxPool`.
    """

    def __init__(
        self,
        window: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(window, stride, padding)
        self.ceil_mode = flag("AvgPool", "ceil_mode", ceil_mode)
        self.count_include_pad = flag("AvgPool", "count_include_pad", count_include_pad)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,H',W']."""
        return _avg_pool2d(
            self._image(x),
            window=self.window,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )

    def _options(self) -> dict[str, tuple[object, object]]:
        return {
            "ceil_mode": (self.ceil_mode, False),
            "count_include_pad": (self.count_include_pad, True),
        }


class Subsample(_Pool):
    """LeNet-5's subsampling: the mean of each window times a coefficient plus a bias.

    Both are trained, one pair a map: ``weight`` [C], which starts as ones, and ``bias`` [C], zeros.
    (LeCun et al., "Gradient-based learning applied to document recognition", 1998, sum the window
    instead of averaging it.) The activation that follows is a layer of its own. window and stride
    as for `MaxPool`.
    """

    def __init__(self, window: Pair = 2, stride: Pair | None = None) -> None:
        super().__init__(window, stride)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,H',W']."""
        channels = channels_of(self, x, IMAGES, "pool before Flatten")
        mean = _avg_pool2d(x, window=self.window, stride=self.stride)
        return scaled(self, mean, axes=(1,), shape=(channels,))


class L2Pool(_Pool):
    """The square root of the sum of squares over each window of [N,C,H,W].

    maps: how many feature maps a window holds; these do not overlap (their stride is `maps` too),
    so that [N,C/maps,H',W'] results. The gradient at a window of zeros is 0. window, stride and
    padding as for `MaxPool`. Raises GraphcError if `maps` does not divide the channels.
    """

    def __init__(
        self, window: Pair, stride: Pair | None = None, padding: Pair = 0, maps: int = 1
    ) -> None:
        super().__init__(window, stride, padding)
        self.maps = whole("L2Pool", "maps", maps, 1)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C/maps,H',W']."""
        return _l2_pool2d(
            self._image(x),
            window=self.window,
            stride=self.stride,
            padding=self.padding,
            maps=self.maps,
        )

    def _options(self) -> dict[str, tuple[object, object]]:
        return {"maps": (self.maps, 1)}


class GlobalAvgPool(Layer):
    """The mean of each feature map: [N,C,H,W] to [N,C]."""

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C]."""
        channels_of(self, x, IMAGES, "pool before Flatten")
        return x.mean((2, 3))

    def __repr__(self) -> str:
        return "GlobalAvgPool()"


class AdaptiveAvgPool(Layer):
    """The mean of each of `size` bins: [N,C,H,W] to [N,C,size...], whatever H and W are.

    Bin i of n over w pixels goes from floor(i w / n) up to ceil((i + 1) w / n), as in PyTorch.
    size: a number or (vertical, horizontal).
    """

    def __init__(self, size: Pair) -> None:
        self.size = pair("AdaptiveAvgPool", "size", size, 1)

    def apply(self, x: Tensor) -> Tensor:
        """Traced [N,C,H,W] -> [N,C,size...]."""
        channels_of(self, x, IMAGES, "pool before Flatten")
        return _adaptive_avg_pool2d(x, size=self.size)

    def __repr__(self) -> str:
        return f"AdaptiveAvgPool({shown(self.size)})"
