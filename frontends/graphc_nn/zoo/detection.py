"""Fast R-CNN: what is in each of many regions of an image, and where exactly.

Girshick, "Fast R-CNN", 2015. Knows layers; sampling of regions and losses are training's business.
"""

from __future__ import annotations

from collections.abc import Callable

import graphc_nn as nn
from graphc.tracing.tensor import Tensor
from graphc_nn.zoo import vgg

Features = Callable[[Tensor], Tensor]
GRID = 7


class FastRCNN(nn.Module):
    """Images [B,C,H,W] and regions [N,5] to scores [N,classes+1] and boxes [N,4(classes+1)].

    A region is (image index, x1, y1, x2, y2) in pixels; class 0 is the background; a box is a
    shift of the region for each class. features: the convolutional part, which shrinks the image by
    `stride`; width: of the two layers that both heads read.
    """

    def __init__(self, features: Features, stride: int, classes: int, width: int) -> None:
        self.features = features
        self.regions = nn.RoIMaxPool(GRID, scale=1 / stride)
        self.trunk = nn.Sequential(
            nn.Flatten(),
            nn.Dense(width),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Dense(width),
            nn.ReLU(),
            nn.Dropout(0.5),
        )
        self.scores = nn.Dense(classes + 1)
        self.boxes = nn.Dense(4 * (classes + 1))

    def __call__(self, images: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(self.regions(self.features(images), regions))
        return self.scores(features), self.boxes(features)


def fast_rcnn(
    classes: int = 20, features: Features | None = None, stride: int = 16, width: int = 4096
) -> FastRCNN:
    """Fast R-CNN on VGG-16's convolutions for 3x600x800 images, 20 classes: 134,690,729 parameters.

    features: another convolutional part, which shrinks the image by `stride`. width: of the two
    dense layers behind the regions.
    """
    if features is None:
        # The pooling of regions takes the place of VGG-16's last pooling.
        features, stride = nn.Sequential(*list(vgg.features())[:-1]), vgg.STRIDE // 2
    return FastRCNN(features, stride, classes, width)
