"""Commands: a case is the words that are typed, in an empty folder or in one that it fills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

Words = tuple[str, ...]


def images(folder: Path, *names: str) -> None:
    """Small grey images in files of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / name)


def _too_few_images(folder: Path) -> Words:
    images(folder, "cat/0.png", "dog/0.png")
    return "train", "lenet5", "--data", "."


def _classes_that_differ(folder: Path) -> Words:
    images(folder, "train/cat/0.png", "test/dog/0.png")
    return "train", "lenet5", "--data", "."


def _images_in_colour(folder: Path) -> Words:
    for name in ("data_batch_1.bin", "test_batch.bin"):
        (folder / name).write_bytes(bytes(3073))
    return "train", "lenet5", "--data", "."


def _undecodable(folder: Path) -> Words:
    (folder / "graph.txt").write_bytes(bytes([0xFF, 0xFE, 0x00]))
    return "opt", "graph.txt"


CASES = (
    lambda folder: ("trian", "lenet5"),
    lambda folder: ("train", "lenet5", "--epochs", "many"),
    lambda folder: ("nets", "--jsn"),
    lambda folder: ("show", "lenet6"),
    lambda folder: ("show", "lenet5", "--after", "fuze"),
    lambda folder: ("check", "lenet5", "--samples", "0"),
    lambda folder: ("check", "lenet5", "--tolerance", "nan"),
    lambda folder: ("bench", "lenet5", "--batch", "0"),
    lambda folder: ("bench", "lenet5", "--seconds", "nan"),
    lambda folder: ("bench", "mlp", "--size", "0"),
    lambda folder: ("bench", "mlp", "--backend", "numpy", "--seconds", "0", "--trace", "t.json"),
    # graphs
    lambda folder: ("opt", "lenet6"),
    lambda folder: ("opt", "mlp", "-p", "fuze"),
    lambda folder: ("opt", "-", "--train"),
    _undecodable,
    lambda folder: ("opt", "lenet5", "--emit", "asm"),
    lambda folder: ("opt", "mlp", "--emit", "asm", "--backend", "numpy"),
    # training
    lambda folder: ("train", "resnet18"),
    lambda folder: ("train", "lenet5", "--save", "absent/net"),
    lambda folder: ("train", "deeptraffic", "--data", "."),
    lambda folder: ("train", "lenet5", "--data", "."),
    _too_few_images,
    _classes_that_differ,
    _images_in_colour,
)
