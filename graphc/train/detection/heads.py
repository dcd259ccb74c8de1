"""What a network that looks at regions of several images takes and gives, as Fast R-CNN's does.

Boxes of each image become one array of regions, and what the two heads say of every region becomes
detections in each image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers
from graphc.base.errors import GraphcError
from graphc.train.detection.boxes import SCALE, as_boxes, clip, decode
from graphc.train.detection.objects import Detections
from graphc.train.detection.suppression import detect

Array = np.ndarray[Any, Any]


def rois_of(boxes: Sequence[Any]) -> Array:
    """f32[n,5]: (position of the image, x1, y1, x2, y2) of the boxes [m,4] of each image."""
    rows = [np.insert(as_boxes(b), 0, position, axis=1) for position, b in enumerate(boxes)]
    return np.concatenate([np.zeros((0, 5)), *rows]).astype(np.float32)


def detect_images(
    rois: Any,
    logits: Any,
    targets: Any,
    *,
    images: int,
    height: int,
    width: int,
    deviations: Sequence[float] = SCALE,
    least: float = 0.05,
    threshold: float = 0.3,
    most: int = 100,
    pixels: bool = False,
) -> list[Detections]:
    """The detections in each of `images` images, from the outputs for all their regions.

    rois: [n,5], see `rois_of`. logits: [n,K+1], column 0 the background. targets: [n,4(K+1)], or
    [n,4K] without those of the background, as the loss "multi_task" takes them. Boxes are decoded
    with the `deviations` of training and clipped to height x width; the rest is `detect`'s, which
    explains the other arguments. Raises GraphcError if the shapes do not fit each other or a region
    is of no image.
    """
    regions = as_numbers("rois", rois, np.float64)
    scores = as_numbers("logits", logits, np.float64)
    moves = as_numbers("targets", targets, np.float64)
    count, classes = scores.shape if scores.ndim == 2 else (-1, 0)
    fits = moves.shape in ((count, 4 * classes), (count, 4 * (classes - 1)))
    if regions.shape != (count, 5) or not fits or classes < 2:
        raise GraphcError(
            f"regions {list(regions.shape)} with logits {list(scores.shape)} and targets "
            f"{list(moves.shape)}",
            remedy="give regions [n,5], logits [n,K+1], and targets [n,4(K+1)] or [n,4K]",
        )
    if not np.isin(regions[:, 0], np.arange(images)).all():
        raise GraphcError(
            f"regions of images {np.unique(regions[:, 0]).tolist()}, and there are {images}",
            remedy="give the position of its image, from 0, as the first number of a region",
        )
    boxed = moves.shape[1] // 4
    by_class = np.zeros((count, classes, 4))
    by_class[:, classes - boxed :] = moves.reshape(count, boxed, 4)
    boxes = decode(regions[:, 1:], by_class, deviations=deviations, pixels=pixels)
    boxes = clip(boxes, height, width, pixels=pixels)
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    own = [regions[:, 0] == position for position in range(images)]
    return [
        detect(
            boxes[o], probabilities[o], least=least, threshold=threshold, most=most, pixels=pixels
        )
        for o in own
    ]
