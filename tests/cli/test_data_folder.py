"""``--data FOLDER``: which data set it is, what becomes of its images, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graphc as gc
from graphc.cli.data_folder import read_folder
from graphc.ir.types import parse_type

RNG = np.random.default_rng(0)


def images(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def cifar100(folder: Path) -> None:
    for name, count in (("train.bin", 6), ("test.bin", 3)):
        labels = np.stack([np.arange(count), 90 + np.arange(count)], axis=1).astype(np.uint8)
        (folder / name).write_bytes(np.hstack([labels, images(count, 3072)]).tobytes())


def stl10(folder: Path) -> None:
    for name, count in (("train", 4), ("test", 2)):
        (folder / f"{name}_X.bin").write_bytes(images(count, 3, 96, 96).tobytes())
        (folder / f"{name}_y.bin").write_bytes(bytes(range(1, 1 + count)))


def classes(folder: Path, names: tuple[str, ...] = ("a", "b"), count: int = 10) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = np.full((9 + k, 12, 3), 20 * k, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{k:02}.png")


def test_cifar100_gives_the_fine_labels(tmp_path: Path) -> None:
    cifar100(tmp_path)
    train, test = read_folder(str(tmp_path), parse_type("f32[N,3,36,34]"))
    assert train.x.shape == (6, 3, 36, 34) and train.y.tolist() == [90, 91, 92, 93, 94, 95]
    assert test.x.shape == (3, 3, 36, 34) and test.y.tolist() == [90, 91, 92]
    assert abs(train.x.mean()) < 1e-5 and abs(train.x.std() - 1) < 1e-5
    assert len(np.unique(train.x[:, :, :2])) == 1


def test_stl10(tmp_path: Path) -> None:
    stl10(tmp_path)
    train, test = read_folder(str(tmp_path), parse_type("f32[N,3,96,96]"))
    assert train.x.shape == (4, 3, 96, 96) and train.y.tolist() == [0, 1, 2, 3]
    assert len(test) == 2
    with pytest.raises(gc.GraphcError, match="are 3x96x96, the network takes"):
        read_folder(str(tmp_path), parse_type("f32[N,3,32,32]"))


def test_every_fifth_image_of_a_class_is_for_the_test(tmp_path: Path) -> None:
    classes(tmp_path)
    train, test = read_folder(str(tmp_path), parse_type("f32[N,1,6,8]"))
    assert train.x.shape == (16, 1, 6, 8) and test.x.shape == (4, 1, 6, 8)
    assert train.y.tolist() == [0] * 8 + [1] * 8 and test.y.tolist() == [0, 0, 1, 1]
    assert abs(train.x.mean()) < 1e-5
    wanted = (130 - 80) / np.std([0, 20, 40, 60, 100, 120, 140, 160])
    assert test.x.mean() == pytest.approx(wanted, rel=1e-5), "standardised by the training part"
    shades = test.x[:, 0, 0, 0]
    assert shades[0] == shades[2] and shades[1] == shades[3] == test.x.max()


def test_folders_for_training_and_test(tmp_path: Path) -> None:
    classes(tmp_path / "train", count=3)
    classes(tmp_path / "test", count=1)
    train, test = read_folder(str(tmp_path), parse_type("f32[N,3,5,5]"))
    assert train.x.shape == (6, 3, 5, 5) and test.x.shape == (2, 3, 5, 5)
    classes(tmp_path / "test", ("c",), count=1)
    with pytest.raises(gc.GraphcError, match=r"train' are a, b, in .*test' a, b, c"):
        read_folder(str(tmp_path), parse_type("f32[N,3,5,5]"))


@pytest.mark.parametrize(
    ("prepare", "type", "message"),
    [
        (lambda p: None, "f32[N,3,8,8]", "holds neither MNIST, CIFAR-10, CIFAR-100, STL-10 nor"),
        (lambda p: (p / "train.bin").touch(), "f32[N,3,8,8]", "holds neither MNIST"),
        (stl10, "f32[N,19]", "the network takes f32[N,19], which are no images"),
        (lambda p: classes(p, count=4), "f32[N,3,8,8]", "has 5 images, so none is left"),
        (lambda p: (p / "a").mkdir(), "f32[N,3,8,8]", "a' holds no image"),
    ],
)
def test_folders_that_do_not_fit(tmp_path: Path, prepare, type: str, message: str) -> None:
    prepare(tmp_path)
    with pytest.raises(gc.GraphcError) as caught:
        read_folder(str(tmp_path), parse_type(type))
    assert message in caught.value.what
    assert caught.value.remedy
