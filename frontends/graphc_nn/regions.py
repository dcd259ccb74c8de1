"""Layers that look at regions of an image: boxes of any size in, a grid of one size out."""

from __future__ import annotations

from graphc.base.errors import GraphcError
from graphc.ops import pooling
from graphc.tracing.tensor import Tensor, function
from graphc.tracing.trace import inside
from graphc_nn.arguments import Pair, arguments_text, number, pair, shown
from graphc_nn.module import Module

_roi_max_pool = function(pooling.roi_max_pool)


class RoIMaxPool(Module):
    """The maximum of each of `size` bins of each box, called with (features, boxes).

    features [B,C,H,W]: B images, a number; boxes [N,5]: (image index, x1, y1, x2, y2), both corners
    inside; the result is [N,C,size...]. scale: pixels of the features for one of the boxes, such as
    1/16. Rounding and bins are those of Fast R-CNN (Girshick, 2015) and of torchvision's roi_pool;
    `graphc.ops.pooling.roi_max_pool` states them. The gradient goes to the first maximum of each
    bin, that of overlapping boxes adds up, and the boxes have none. Raises GraphcError for
    arguments out of range; when traced, for features or boxes of another form.
    """

    def __init__(self, size: Pair, scale: float = 1.0) -> None:
        self.size = pair("RoIMaxPool", "size", size, 1)
        self.scale = number("RoIMaxPool", "scale", scale, 0.0, float("inf"))
        if not self.scale:
            raise GraphcError(
                "RoIMaxPool: scale 0 makes a point of every box",
                remedy="give pixels of the features for one of the boxes, such as 1/16",
            )

    def __call__(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Traced [B,C,H,W] and [N,5] -> [N,C,size...]."""
        with inside(self, self.location):
            return _roi_max_pool(features, boxes, size=self.size, scale=self.scale)

    def __repr__(self) -> str:
        return "RoIMaxPool" + arguments_text((shown(self.size),), {"scale": (self.scale, 1.0)})
