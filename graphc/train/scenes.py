"""Scenes that are drawn, not photographed: shapes in noise, where they are, where one would look.

Data for detection and saliency without a download. Every scene has random numbers of its own, so
that the first scenes of a longer set are those of a shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import check_number, check_whole
from graphc.base.errors import GraphcError
from graphc.ir.types import whole_numbers
from graphc.train.detection.boxes import iou
from graphc.train.detection.objects import Objects

Array = np.ndarray[Any, Any]
SHAPES = ("square", "disc", "triangle")
SIZES = (0.2, 0.4)  # of a shape, as a share of the image
LARGEST_OVERLAP = 0.05
ATTEMPTS = 100
FIXATIONS = 20  # of each object
BLUR = 1 / 20  # of the fixations' density, as a share of the image


@dataclass(frozen=True, eq=False)
class Scenes:
    """Images and what is true of them.

    images: f32[n,channels,size,size]. objects: the shapes of each image, labels counted from 1 in
    the order of `SHAPES`; a box ends after its last pixel. fixations: i32[n,size,size], how many
    fell on each pixel. density: f32[n,size,size], the fixations blurred, of sum 1.
    """

    images: Array
    objects: tuple[Objects, ...]
    fixations: Array
    density: Array

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> tuple[str, ...]:
        """What each label is called; 0 is the background."""
        return ("background", *SHAPES)


def scenes(
    count: int,
    size: int = 64,
    classes: int = 3,
    seed: int = 0,
    *,
    objects: tuple[int, int] = (1, 3),
    channels: int = 1,
    noise: float = 0.2,
) -> Scenes:
    """`count` square images with squares, discs and triangles (the first `classes` of them).

    objects: the least and the largest number in an image; those that find no free place are left
    out, but for the first. Each shape has a colour of its own, each channel between 0.5 and 1, on
    0; noise: the deviation of what is added to all pixels. Raises GraphcError for numbers out of
    range.
    """
    check_whole("scenes: count", count)
    check_whole("scenes: size", size, 16)
    check_whole("scenes: channels", channels)
    check_whole("scenes: seed", seed, 0)
    check_number("scenes: noise", noise, 0.0)
    if classes not in range(1, len(SHAPES) + 1):
        raise GraphcError(
            f"scenes: classes is {classes!r}", remedy=f"give a number from 1 to {len(SHAPES)}"
        )
    low, high = whole_numbers(objects, "scenes: objects", least=1, count=2)
    if low > high:
        raise GraphcError(f"scenes: objects {objects}", remedy="give (least, most)")
    images = np.zeros((count, channels, size, size), np.float32)
    fixations = np.zeros((count, size, size), np.int32)
    found = []
    for number in range(count):
        generator = np.random.default_rng((seed, number))
        wanted = int(generator.integers(low, high + 1))
        found.append(_draw(images[number], wanted, classes, generator))
        _look(fixations[number], found[-1].boxes, generator)
        images[number] += noise * generator.standard_normal(images[number].shape)
    return Scenes(images, tuple(found), fixations, _blurred(fixations))


def _draw(image: Array, wanted: int, classes: int, generator: np.random.Generator) -> Objects:
    """Paints up to `wanted` shapes that hardly overlap; says what and where they are."""
    boxes: list[list[int]] = []
    labels: list[int] = []
    for _ in range(ATTEMPTS):
        if len(boxes) == wanted:
            break
        extent = image.shape[-1]
        side = round(generator.uniform(*SIZES) * extent)
        x, y = (int(generator.integers(0, extent - side + 1)) for _ in range(2))
        box = [x, y, x + side, y + side]
        if boxes and iou([box], boxes).max() > LARGEST_OVERLAP:
            continue
        label = int(generator.integers(1, classes + 1))
        colour = generator.uniform(0.5, 1.0, len(image))
        inside = image[:, y : y + side, x : x + side]
        inside[:, _mask(SHAPES[label - 1], side)] = colour[:, None]
        boxes.append(box)
        labels.append(label)
    return Objects(boxes, labels)


def _mask(shape: str, side: int) -> Array:
    """bool[side,side]: the pixels of a shape that touches all four edges."""
    row, column = np.mgrid[:side, :side] - (side - 1) / 2
    if shape == "disc":
        return np.asarray(row**2 + column**2 <= (side / 2) ** 2)
    if shape == "triangle":
        return np.asarray(2 * abs(column) <= row + (side + 1) / 2)
    return np.ones((side, side), bool)


def _look(fixations: Array, boxes: Array, generator: np.random.Generator) -> None:
    """Counts fixations around the middle of each box, normal with an eighth of its size."""
    size = boxes[:, 2:] - boxes[:, :2]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    spread = generator.normal(size=(FIXATIONS, len(boxes), 2)) * size / 8
    places = np.clip(np.floor(middle + spread), 0, len(fixations) - 1).astype(np.int64)
    np.add.at(fixations, (places[..., 1], places[..., 0]), 1)


def _blurred(fixations: Array) -> Array:
    """f32[n,size,size]: a Gaussian at every fixation, scaled to a sum of 1 an image."""
    size = fixations.shape[-1]
    position = np.arange(size)
    distance = (position[:, None] - position) / (BLUR * size)
    kernel = np.exp(-(distance**2) / 2)
    density = kernel @ fixations @ kernel
    return np.asarray(density / density.sum(axis=(1, 2), keepdims=True), np.float32)
