"""Data: sets, files, folders of images, augmentation, what is drawn."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graphc import data

IMAGES, LABELS = np.zeros((4, 1, 8, 8), np.float32), np.zeros(4, np.int32)
CIFAR10, CIFAR100, STL10 = 1 + 3 * 32 * 32, 2 + 3 * 32 * 32, 3 * 96 * 96


def file(content: bytes, name: str = "file") -> str:
    """A file in the folder of the case; its path."""
    Path(name).write_bytes(content)
    return name


def idx(array: Any, name: str = "idx") -> str:
    """An IDX file of bytes."""
    found = np.asarray(array, np.uint8)
    header = b"\0\0\x08" + bytes([found.ndim]) + np.asarray(found.shape, ">u4").tobytes()
    return file(header + found.tobytes(), name)


def classes(*names: str) -> str:
    """A folder with empty folders."""
    for name in names:
        Path("images", name).mkdir(parents=True)
    Path("images").mkdir(exist_ok=True)
    return "images"


def _without_pillow(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "PIL.Image", None)
        return data.read_images(classes("cat"))


def _sixteen_bits(folder: Path) -> Any:
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(Path(classes("cat"), "cat", "0.png"))
    return data.read_images("images")


CASES = (
    # data sets
    lambda folder: data.Dataset(IMAGES, LABELS[:3]),
    lambda folder: data.Dataset.of(IMAGES),
    lambda folder: data.Dataset(IMAGES, LABELS).split(4),
    lambda folder: data.standardise(np.zeros(0)),
    lambda folder: data.pairs(IMAGES, LABELS[:3], 2),
    lambda folder: data.pairs(IMAGES, LABELS, 2),
    lambda folder: data.scenes(1, classes=4),
    lambda folder: data.scenes(1, objects=(3, 1)),
    # numbers, arrays, seeds and paths
    lambda folder: data.digits(upsample=0),
    lambda folder: data.Dataset([[1, 2], [3]], LABELS),
    lambda folder: data.Dataset(IMAGES, LABELS).split(2, seed="first"),
    lambda folder: data.read_idx(3),
    # files
    lambda folder: data.read_idx("absent"),
    lambda folder: data.read_idx(file(gzip.compress(b"text")[:-4])),
    lambda folder: data.read_idx(file(b"text")),
    lambda folder: data.read_idx(file(b"\0\0\x08\x03\0\0")),
    lambda folder: data.read_idx(file(b"\0\0\x08\x01\0\0\0\x04\0")),
    lambda folder: data.read_mnist(idx([0, 1]), idx([0, 1])),
    lambda folder: data.read_mnist(idx(np.zeros((3, 2, 2)), "images"), idx([0, 1], "labels")),
    lambda folder: data.read_cifar10([]),
    lambda folder: data.read_cifar10(file(bytes(CIFAR100))),
    lambda folder: data.read_cifar10(file(b"\x0a" + bytes(CIFAR10 - 1))),
    lambda folder: data.read_stl10("absent", file(b"\x0b")),
    lambda folder: data.read_stl10(file(bytes(STL10 - 1)), file(b"\x01", "labels")),
    # folders of images
    lambda folder: data.read_images("absent"),
    lambda folder: data.read_images(classes(), channels=4),
    lambda folder: data.read_images(classes(), size=0),
    lambda folder: data.read_images(classes()),
    lambda folder: data.read_images(classes("cat")),
    _without_pillow,
    _sixteen_bits,
    # augmentation
    lambda folder: data.Augment(data.Mirror),
    lambda folder: data.Mirror(2.0),
    lambda folder: data.Shift(-1),
    lambda folder: data.Scale((1, 2, 3)),
    lambda folder: data.Scale((1.2, 0.8)),
    lambda folder: data.SaltAndPepper(0.1, low=1.0, high=0.0),
    lambda folder: data.PCAJitter((1.0, 2.0, 3.0)),
    lambda folder: data.PCAJitter.fitted(IMAGES[0]),
    lambda folder: data.PCAJitter(np.eye(3))(IMAGES, 0),
    lambda folder: data.ColourJitter(saturation=0.5)(IMAGES, 0),
    lambda folder: data.Noise(0.1)(LABELS, 0),
    lambda folder: data.Mirror()(LABELS, 0),
    lambda folder: data.Mirror()(IMAGES, -1),
    lambda folder: data.Crop(9)(IMAGES, 0),
)
