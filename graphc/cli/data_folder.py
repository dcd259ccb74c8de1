"""``--data FOLDER``: MNIST's IDX files or CIFAR-10's binary batches, made to fit a network's input.

Files keep the names under which the data sets are published; IDX files may be gzip-compressed.
Reading and checking them is the readers' business.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.types import parse_type
from graphc.train.dataset import Dataset, standardise
from graphc.train.readers import Array, read_cifar10, read_idx

IDX = ("train-images", "train-labels", "t10k-images", "t10k-labels")


def read_folder(folder: str, input_type: str) -> tuple[Dataset, Dataset]:
    """(train, test) for a network that takes `input_type`, standardised by the training part.

    Smaller images get a border; grey ones as many equal channels as the network takes. Raises
    GraphcError if the folder holds neither data set, or its images do not fit.
    """
    root = Path(folder)
    train_images, train_labels, test_images, test_labels = _read(root)
    train, test = (_fitted(images, input_type, root) for images in (train_images, test_images))
    train, test = standardise(train, test)
    return Dataset(train, train_labels.astype(np.int32)), Dataset(
        test, test_labels.astype(np.int32)
    )


def _read(root: Path) -> tuple[Array, Array, Array, Array]:
    found = [next(iter(sorted(root.glob(f"{name}*idx*-ubyte*"))), None) for name in IDX]
    named = [path for path in found if path is not None]
    if len(named) == len(IDX):
        images, labels, more_images, more_labels = map(read_idx, named)
        return images[:, None], labels, more_images[:, None], more_labels
    batches = sorted(root.glob("data_batch_*.bin"))
    if batches and (root / "test_batch.bin").exists():
        return (*read_cifar10(batches), *read_cifar10(root / "test_batch.bin"))
    raise GraphcError(
        f"{str(root)!r} holds neither MNIST nor CIFAR-10",
        remedy="MNIST is train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k files; "
        "CIFAR-10 is data_batch_1.bin ... and test_batch.bin",
    )


def _fitted(images: Array, input_type: str, root: Path) -> Array:
    """Images u8[n,channels,height,width] with the border and the channels that are missing."""
    _, channels, height, width = parse_type(input_type).concrete(1)
    given, room = images.shape[1], (height - images.shape[2], width - images.shape[3])
    if given not in (1, channels) or min(room) < 0:
        raise GraphcError(
            f"the images in {str(root)!r} are {given}x{images.shape[2]}x{images.shape[3]}, "
            f"the network takes {input_type}",
            remedy="choose a network for these images: see graphc nets",
        )
    border = [(extra // 2, extra - extra // 2) for extra in room]
    return np.repeat(np.pad(images, ((0, 0), (0, 0), *border)), channels // given, axis=1)
