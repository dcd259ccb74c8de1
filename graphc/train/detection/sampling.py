"""Mini-batches of Fast R-CNN: a few images, and of each a few regions, a quarter of them objects.

Girshick, "Fast R-CNN", 2015, section 2.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number, check_whole
from graphc.base.errors import GraphcError
from graphc.train.detection.boxes import SCALE, as_boxes, encode, iou
from graphc.train.detection.objects import Objects

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Regions:
    """What the heads are trained on.

    rois: f32[n,5], each (position of the image in the batch, x1, y1, x2, y2). labels: i32[n], 0 for
    the background. targets: f32[n,4], see `encode`; 0 for the background. images: i64[images],
    which images the batch is made of.
    """

    rois: Array
    labels: Array
    targets: Array
    images: Array


@dataclass(frozen=True)
class RegionSampler:
    """How mini-batches are drawn; the defaults are Fast R-CNN's.

    images: images a batch. regions: regions an image. foreground: the share of them that are
    objects, those with an IoU of at least `foreground_iou` with one. background_iou: the rest have
    their largest IoU in this range, [low, high). The objects' own boxes are proposals too.
    deviations: see `encode`. pixels: see `iou`. Raises GraphcError for numbers out of range.
    """

    images: int = 2
    regions: int = 64
    foreground: float = 0.25
    foreground_iou: float = 0.5
    background_iou: tuple[float, float] = (0.1, 0.5)
    deviations: Sequence[float] = SCALE
    pixels: bool = False

    def __post_init__(self) -> None:
        check_whole("RegionSampler: images", self.images)
        check_whole("RegionSampler: regions", self.regions)
        check_number("RegionSampler: foreground", self.foreground, 0.0, 1.0)
        check_number("RegionSampler: foreground_iou", self.foreground_iou, 0.0, 1.0)
        limits = as_numbers("RegionSampler: background_iou", self.background_iou, np.float64)
        if limits.shape != (2,) or not 0.0 <= limits[0] < limits[1] <= self.foreground_iou:
            raise GraphcError(
                f"RegionSampler: background_iou {self.background_iou!r} with foreground_iou "
                f"{self.foreground_iou}",
                remedy="give (low, high) with 0 <= low < high <= foreground_iou",
            )

    def epoch(
        self,
        proposals: Sequence[Any],
        truths: Sequence[Objects],
        generator: np.random.Generator,
    ) -> Iterator[Regions]:
        """Batches that show each image once, in random order; the last may have fewer images.

        proposals: [n,4] for each image. truths: what is in each. Raises GraphcError if their
        numbers differ, and for a batch without any region.
        """
        if len(proposals) != len(truths) or not truths:
            raise GraphcError(
                f"proposals for {len(proposals)} images, objects of {len(truths)}",
                remedy="give both for each image, at least one",
            )
        order = generator.permutation(len(truths))
        for begin in range(0, len(order), self.images):
            chosen = order[begin : begin + self.images]
            yield self.sample(proposals, truths, chosen, generator)

    def sample(
        self,
        proposals: Sequence[Any],
        truths: Sequence[Objects],
        images: Sequence[int] | Array,
        generator: np.random.Generator,
    ) -> Regions:
        """The batch of the chosen `images`; equal generators give equal batches.

        No region is drawn twice. Where an image has fewer objects or background than asked for, all
        of them are taken and the batch is smaller (missing objects are made up for by background,
        not the other way round). Raises GraphcError if no region is left.
        """
        chosen = np.asarray(images, np.int64)
        parts = [
            self._regions(position, as_boxes(proposals[image]), truths[image], generator)
            for position, image in enumerate(chosen)
        ]
        rois, labels, targets = (np.concatenate(group) for group in zip(*parts, strict=True))
        if not len(rois):
            raise GraphcError(
                f"images {chosen.tolist()} have no region with an IoU of at least "
                f"{self.background_iou[0]} with an object",
                remedy="give more proposals, or lower background_iou",
            )
        return Regions(
            rois.astype(np.float32), labels.astype(np.int32), targets.astype(np.float32), chosen
        )

    def _regions(
        self, position: int, proposals: Array, truth: Objects, generator: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """(rois, labels, targets) of one image."""
        boxes = np.concatenate([proposals, truth.boxes])
        if len(truth):
            overlaps = iou(boxes, truth.boxes, pixels=self.pixels)
            best, largest = overlaps.argmax(axis=1), overlaps.max(axis=1)
        else:
            best, largest = np.zeros(len(boxes), np.int64), np.zeros(len(boxes))
        low, high = self.background_iou
        objects = _drawn(
            np.flatnonzero(largest >= self.foreground_iou),
            round(self.foreground * self.regions),
            generator,
        )
        background = _drawn(
            np.flatnonzero((largest >= low) & (largest < high)),
            self.regions - len(objects),
            generator,
        )
        kept = np.concatenate([objects, background])
        rois = np.concatenate([np.full((len(kept), 1), float(position)), boxes[kept]], axis=1)
        labels, targets = np.zeros(len(kept), np.int64), np.zeros((len(kept), 4))
        if len(objects):
            labels[: len(objects)] = truth.labels[best[objects]]
            targets[: len(objects)] = encode(
                boxes[objects],
                truth.boxes[best[objects]],
                pixels=self.pixels,
                deviations=self.deviations,
            )
        return rois, labels, targets


def _drawn(candidates: Array, count: int, generator: np.random.Generator) -> Array:
    """At most `count` of the candidates, without repetition."""
    return generator.permutation(candidates)[:count]
