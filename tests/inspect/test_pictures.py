"""Pictures are PNG files of the right content: what is drawn can be read back from the pixels."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from matplotlib.image import imread

from graphc.base.errors import GraphcError
from graphc.inspect import pictures


def test_tiles_show_their_images_in_order(tmp_path):
    dark, light = np.zeros((4, 4)), np.ones((4, 4))
    path = pictures.save_images(
        tmp_path / "tiles.png", np.stack([dark, light]), columns=2, together=True
    )
    pixels = imread(path)[:, :, :3].mean(axis=2)
    middle = pixels[pixels.shape[0] // 2]
    left, right = middle[: len(middle) // 2], middle[len(middle) // 2 :]
    assert (left == 0).any() and not (right == 0).any()


def test_colour_images_keep_their_colours(tmp_path):
    red = np.zeros((1, 3, 5, 5))
    red[:, 0] = 2.0
    pixels = imread(pictures.save_images(tmp_path / "red.png", red))
    centre = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2, :3]
    assert centre.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_curves_and_histograms_are_drawn(tmp_path, logarithmic):
    curves = {"loss": [3.0, 2.0, 1.0], "other": ([1, 5], [2.0, 1.0])}
    path = pictures.save_curves(tmp_path / "c.png", curves, x="epoch", logarithmic=logarithmic)
    assert imread(path).std() > 0.05
    rows = {"sigma 1": {"layer 1": np.zeros(9), "layer 2": np.linspace(-1, 1, 9)}}
    assert imread(pictures.save_histograms(tmp_path / "h.png", rows)).std() > 0.05


def test_boxes_are_where_they_should_be(tmp_path):
    image = np.ones((1, 20, 20))
    path = pictures.save_boxes(tmp_path / "b.png", image, [[[5, 5, 15, 15]]], [["disc"]])
    pixels = imread(path)
    red = (pixels[:, :, 0] > 0.7) & (pixels[:, :, 1] < 0.4)
    rows = np.flatnonzero(red.any(axis=1))
    assert red.any() and rows[-1] - rows[0] > pixels.shape[0] // 4


@pytest.mark.parametrize(
    ("draw", "complaint"),
    [
        (lambda p: pictures.save_images(p, np.zeros((2, 2))), "no row of images"),
        (lambda p: pictures.save_images(p, np.zeros((2, 2, 2)), captions=["a"]), "1 captions"),
        (lambda p: pictures.save_curves(p, {}), "no curves"),
        (lambda p: pictures.save_histograms(p, {}), "no values"),
        (lambda p: pictures.save_boxes(p, np.zeros((1, 2, 2)), [[]], [["a"]]), "1 images with"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, draw, complaint):
    with pytest.raises(GraphcError, match=complaint) as caught:
        draw(tmp_path / "x.png")
    assert caught.value.remedy


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(GraphcError, match="cannot write"):
        pictures.save_curves(tmp_path / "absent" / "x.png", {"a": [1]})


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(GraphcError, match="matplotlib") as caught:
        pictures.save_curves(tmp_path / "x.png", {"a": [1]})
    assert "graphc[pictures]" in str(caught.value)
