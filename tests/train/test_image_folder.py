"""Folders of images: classes, sizes, colours, and files that are not what they should be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graphc as gc
from graphc import data


def stored(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def colours(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stored(tmp_path / "dog" / "2.png", colours(7, 9, 1))
    stored(tmp_path / "dog" / "1.png", colours(6, 6, 0))
    stored(tmp_path / "cat" / "a.png", colours(10, 4, 2))
    stored(tmp_path / "zebra" / "z.jpg", np.full((8, 8, 3), 200, np.uint8))
    (tmp_path / "README.txt").write_text("beside the classes")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "cat" / ".hidden").write_text("not an image")
    return tmp_path


def test_images_of_mixed_sizes_in_sorted_classes(folder: Path) -> None:
    images, labels, names = data.read_images(folder)
    assert names == ("cat", "dog", "zebra")
    assert labels.tolist() == [0, 1, 1, 2] and labels.dtype == np.int32
    assert [image.shape for image in images] == [(3, 10, 4), (3, 6, 6), (3, 7, 9), (3, 8, 8)]
    np.testing.assert_array_equal(images[1], colours(6, 6, 0).transpose(2, 0, 1))
    np.testing.assert_array_equal(images[3], np.full((3, 8, 8), 200))


def test_one_size_for_all(folder: Path) -> None:
    images, labels, _ = data.read_images(str(folder), size=(6, 8))
    assert images.shape == (4, 3, 6, 8) and images.dtype == np.uint8 and len(labels) == 4
    assert data.read_images(folder, size=5)[0].shape == (4, 3, 5, 5)


def test_an_image_is_cut_in_its_middle_before_it_is_resized(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = (10, 100, 250)
    stored(tmp_path / "a" / "wide.png", pixels)
    stored(tmp_path / "a" / "tall.png", pixels.transpose(1, 0, 2))
    for size, border in ((10, 0), (5, 2), (20, 4)):  # near the cut, resizing sees beyond it
        images, _, _ = data.read_images(tmp_path, size)
        assert images.shape == (2, 3, size, size)
        inner = images[:, :, border : size - border, border : size - border]
        expected = np.array([10, 100, 250])[:, None, None]
        np.testing.assert_array_equal(inner, np.broadcast_to(expected, inner.shape))
    same, _, _ = data.read_images(tmp_path, (30, 10))
    np.testing.assert_array_equal(same[0], pixels.transpose(2, 1, 0))


def test_grey(folder: Path) -> None:
    images, _, _ = data.read_images(folder, size=6, channels=1)
    assert images.shape == (4, 1, 6, 6)
    luminance = colours(6, 6, 0) @ np.array([0.299, 0.587, 0.114])
    assert abs(images[1, 0] - luminance).max() <= 1


def test_palettes_transparency_and_rotation(tmp_path: Path) -> None:
    pixels = colours(4, 6)
    opaque = np.dstack([pixels, np.full((4, 6), 255, np.uint8)])
    stored(tmp_path / "a" / "1.png", opaque)
    Image.fromarray(np.full((4, 6, 3), 40, np.uint8)).quantize(4).save(tmp_path / "a" / "2.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned: the image is to be rotated clockwise
    stored(tmp_path / "a" / "3.png", pixels, exif=turned)
    images, _, _ = data.read_images(tmp_path)
    np.testing.assert_array_equal(images[0], pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(images[1], np.full((3, 4, 6), 40))
    np.testing.assert_array_equal(images[2], np.rot90(pixels, -1).transpose(2, 0, 1))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("b.txt", lambda p: p.write_text("no image"), "read as an image: cannot identify"),
        ("b.png", lambda p: p.write_bytes(b""), "cannot be read as an image: cannot identify"),
        ("a.png", _truncate, "cannot be read as an image: "),
        ("b", lambda p: p.mkdir(), "cannot be read as an image: Is a directory"),
        ("b.png", lambda p: stored(p, np.full((3, 3), 7000, np.uint16)), "more than eight bits"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_image_is_named(folder: Path, name: str, write, message: str) -> None:
    write(folder / "cat" / name)
    with pytest.raises(gc.GraphcError) as caught:
        data.read_images(folder)
    assert message in caught.value.what and str(folder / "cat" / name) in caught.value.what
    assert caught.value.remedy and caught.value.location is not None


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(gc.GraphcError, match="is no folder"):
        data.read_images(tmp_path / "absent")
    with pytest.raises(gc.GraphcError, match="holds no folders"):
        data.read_images(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(gc.GraphcError, match=r"the class .*empty' holds no image"):
        data.read_images(tmp_path)


@pytest.mark.parametrize("size", [0, (3,), (3, 0), "large", True, 2.5])
def test_sizes_that_are_none(folder: Path, size: object) -> None:
    with pytest.raises(gc.GraphcError, match="read_images: size"):
        data.read_images(folder, size)
    with pytest.raises(gc.GraphcError, match="read_images: channels 2"):
        data.read_images(folder, channels=2)


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(gc.GraphcError) as caught:
        data.read_images(folder)
    assert "Pillow, which is not there" in caught.value.what
    assert caught.value.remedy == "pip install graphc[images]"
