"""``--data FOLDER``: a data set that the user has, made to fit a network's input.

MNIST, CIFAR-10, CIFAR-100 and STL-10 keep the names of the files under which they are published
(IDX files may be gzip-compressed); anything else is a folder of images for each class. Reading and
checking them is the readers' business.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.types import TensorType
from graphc.train.dataset import Dataset, standardise
from graphc.train.image_folder import read_images
from graphc.train.readers import Array, read_cifar10, read_cifar100, read_mnist, read_stl10

IDX = ("train-images", "train-labels", "t10k-images", "t10k-labels")
STL = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")
TEST_EVERY = 5
Part = tuple[Array, Array]


def read_folder(folder: str, input_type: TensorType) -> tuple[Dataset, Dataset]:
    """(train, test) for a network that takes `input_type`, standardised by the training part.

    Folders of images are ``train/CLASS/...`` and ``test/CLASS/...``, or ``CLASS/...``, of which
    every fifth image of a class then is for the test; they are resized to the network's input.
    Smaller images of the published sets get a border, grey ones as many equal channels as the
    network takes. Raises GraphcError if the folder holds no data set, or its images do not fit.
    """
    root = Path(folder)
    if input_type.rank != 4:
        raise GraphcError(
            f"the network takes {input_type}, which are no images",
            remedy="choose a network for images: see graphc nets",
        )
    (train, train_labels), (test, test_labels) = _published(root) or _by_class(root, input_type)
    shown = standardise(_fitted(train, input_type, root), _fitted(test, input_type, root))
    return Dataset(shown[0], train_labels), Dataset(shown[1], test_labels)


def _published(root: Path) -> tuple[Part, Part] | None:
    """A data set whose files keep their names; None if there is none."""
    idx = [path for name in IDX for path in sorted(root.glob(f"{name}*idx*-ubyte*"))[:1]]
    if len(idx) == len(IDX):
        return read_mnist(idx[0], idx[1]), read_mnist(idx[2], idx[3])
    batches = sorted(root.glob("data_batch_*.bin"))
    if batches and (root / "test_batch.bin").exists():
        return read_cifar10(batches), read_cifar10(root / "test_batch.bin")
    if all((root / f"{part}.bin").exists() for part in ("train", "test")):
        train, test = (read_cifar100(root / f"{part}.bin") for part in ("train", "test"))
        return train[:2], test[:2]
    if all((root / name).exists() for name in STL):
        train_x, train_y, test_x, test_y = (root / name for name in STL)
        return read_stl10(train_x, train_y), read_stl10(test_x, test_y)
    return None


def _by_class(root: Path, input_type: TensorType) -> tuple[Part, Part]:
    """Images in folders named after their classes, in the size and the colours of the network."""
    if not root.is_dir() or not any(p.is_dir() for p in root.iterdir()):
        raise GraphcError(
            f"{str(root)!r} holds neither MNIST, CIFAR-10, CIFAR-100, STL-10 nor folders of images",
            remedy="MNIST is train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k "
            "files; CIFAR-10 is data_batch_1.bin ... and test_batch.bin; CIFAR-100 is train.bin "
            f"and test.bin; STL-10 is {', '.join(STL)}; images are train/CLASS/... and "
            "test/CLASS/..., or CLASS/...",
        )
    _, channels, height, width = input_type.concrete(1)
    size, colours = (height, width), 1 if channels == 1 else 3
    if not all((root / part).is_dir() for part in ("train", "test")):
        images, labels, _ = read_images(root, size, colours)
        place = np.concatenate([np.arange(k) for k in np.bincount(labels)])
        is_test = place % TEST_EVERY == TEST_EVERY - 1
        if not is_test.any():
            raise GraphcError(
                f"no class in {str(root)!r} has {TEST_EVERY} images, so none is left for the test",
                remedy="give more images, or put some into test/CLASS and the rest in train/CLASS",
            )
        return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])
    parts = [read_images(root / part, size, colours) for part in ("train", "test")]
    if parts[0][2] != parts[1][2]:
        raise GraphcError(
            f"the classes in {str(root / 'train')!r} are {', '.join(parts[0][2])}, "
            f"in {str(root / 'test')!r} {', '.join(parts[1][2])}",
            remedy="give both the same folders",
        )
    return parts[0][:2], parts[1][:2]


def _fitted(images: Array, input_type: TensorType, root: Path) -> Array:
    """Images u8[n,channels,height,width] with the border and the channels that are missing."""
    _, channels, height, width = input_type.concrete(1)
    given, room = images.shape[1], (height - images.shape[2], width - images.shape[3])
    if given not in (1, channels) or min(room) < 0:
        raise GraphcError(
            f"the images in {str(root)!r} are {given}x{images.shape[2]}x{images.shape[3]}, "
            f"the network takes {input_type}",
            remedy="choose a network for these images: see graphc nets",
        )
    border = [(extra // 2, extra - extra // 2) for extra in room]
    return np.repeat(np.pad(images, ((0, 0), (0, 0), *border)), channels // given, axis=1)
