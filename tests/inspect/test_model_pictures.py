"""Pictures of models: the right ones for a network and its data, of the right content."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

import graphc as gc
from graphc import nn, optim
from graphc.inspect import model_pictures
from graphc.inspect.model_pictures import (
    save_activations,
    save_confusion,
    save_feature_maps,
    save_filters,
    save_history,
    save_misclassified,
    save_pictures,
)
from graphc.train.history import Epoch, History

CLASSES = 3
HISTORY = History([Epoch(k, 1 / k, 0.5, 2 / k, 0.4, 1.0, 10) for k in (1, 2, 3)], best_epoch=2)


@pytest.fixture(scope="module")
def bars() -> gc.Model:
    """Takes an image for the class whose row of pixels is brightest: right by construction."""
    model = gc.Model(nn.Sequential(nn.Conv(CLASSES, 3), nn.Flatten()), "f32[N,1,3,3]")
    weight = np.zeros((CLASSES, 1, 3, 3), np.float32)
    for k in range(CLASSES):
        weight[k, 0, k] = 1.0
    model.load_params({"0.weight": weight, "0.bias": np.zeros(CLASSES, np.float32)})
    return model


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Bright rows, some brighter than others."""
    labels = np.arange(9) % CLASSES
    x = np.zeros((9, 1, 3, 3), np.float32)
    for k, label in enumerate(labels):
        x[k, 0, label] = 1 + k
    return x, labels


def colours(path: Path) -> np.ndarray:
    """[pixels,3] of those that are neither white nor grey."""
    pixels = imread(path)[:, :, :3].reshape(-1, 3)
    return pixels[np.ptp(pixels, axis=1) > 0.2]


def is_red(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, 0] > pixels[:, 2] + 0.2


def is_blue(pixels: np.ndarray) -> np.ndarray:
    return pixels[:, 2] > pixels[:, 0] + 0.2


def test_positive_weights_are_red_and_negative_ones_blue(tmp_path: Path, bars: gc.Model) -> None:
    drawn = colours(save_filters(tmp_path / "f.png", bars))
    assert is_red(drawn).all() and len(drawn)
    turned = gc.Model(nn.Sequential(nn.Conv(CLASSES, 3), nn.Flatten()), "f32[N,1,3,3]")
    turned.load_params({name: -array for name, array in bars.params.items()})
    assert is_blue(colours(save_filters(tmp_path / "g.png", turned))).all()


def test_units_that_read_an_image_are_drawn_as_images(tmp_path: Path) -> None:
    dense = gc.Model(nn.Sequential(nn.Flatten(), nn.Dense(4)), "f32[N,1,6,5]")
    picture = imread(save_filters(tmp_path / "d.png", dense))
    assert picture.shape[0] > picture.shape[1] * 0.8  # two by two tiles, higher than wide
    words = gc.Model(nn.Dense(4), "f32[N,30]")
    with pytest.raises(gc.GraphcError, match="no layer has windows"):
        save_filters(tmp_path / "w.png", words)


def test_maps_of_one_layer_and_of_all(tmp_path: Path, bars: gc.Model) -> None:
    image = np.eye(3, dtype=np.float32)[None]
    every = imread(save_feature_maps(tmp_path / "all.png", bars, image))
    one = imread(save_feature_maps(tmp_path / "one.png", bars, image[None], layer="0"))
    assert every.std() > 0.05 and one.std() > 0.05
    with pytest.raises(gc.GraphcError, match="is no image"):
        save_feature_maps(tmp_path / "x.png", bars, np.zeros(9, np.float32))


def test_what_is_right_is_blue_and_what_is_wrong_red(
    tmp_path: Path, bars: gc.Model, data: tuple[np.ndarray, np.ndarray]
) -> None:
    right = colours(save_confusion(tmp_path / "right.png", bars, data))
    assert is_blue(right).all() and len(right)
    x, labels = data
    wrong = colours(save_confusion(tmp_path / "wrong.png", bars, (x, (labels + 1) % CLASSES)))
    assert is_red(wrong).any() and not is_blue(wrong).any()


def test_the_surest_mistakes_come_first(
    tmp_path: Path,
    bars: gc.Model,
    data: tuple[np.ndarray, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: dict[str, Any] = {}

    def noted(path: Path, images: Any, *, captions: Sequence[str], title: str) -> Path:
        shown.update(images=images, captions=captions, title=title)
        return path

    monkeypatch.setattr(model_pictures, "save_images", noted)
    x, labels = data
    claimed = labels.copy()
    claimed[[0, 8]] = 1  # a faint bar of class 0 and a bright one of class 2
    save_misclassified(tmp_path / "m.png", bars, (x, claimed), names=("top", "middle", "low"))
    assert shown["title"] == "2 of 9 samples wrong"
    assert shown["captions"][0] == "middle as low, 100%"
    assert shown["captions"][1].startswith("middle as top, ")
    np.testing.assert_array_equal(shown["images"], x[[8, 0]])


def test_no_mistake_is_a_picture_too(
    tmp_path: Path, bars: gc.Model, data: tuple[np.ndarray, np.ndarray]
) -> None:
    assert imread(save_misclassified(tmp_path / "none.png", bars, data)).std() > 0.01


def test_curves_of_training_and_validation(tmp_path: Path) -> None:
    both = colours(save_history(tmp_path / "both.png", HISTORY))
    epochs = [Epoch(e.number, e.loss, None, None, None, 1.0, 10) for e in HISTORY.epochs]
    loss = imread(save_history(tmp_path / "loss.png", History(epochs)))
    assert is_blue(both).any() and is_red(both).any()
    assert loss.shape[1] < imread(tmp_path / "both.png").shape[1]  # there is no accuracy
    with pytest.raises(gc.GraphcError, match="no epochs"):
        save_history(tmp_path / "x.png", History())


def test_activations_have_a_histogram_a_layer(
    tmp_path: Path, bars: gc.Model, data: tuple[np.ndarray, np.ndarray]
) -> None:
    assert is_blue(colours(save_activations(tmp_path / "a.png", bars, data[0]))).any()


def test_images_and_classes_have_every_picture(
    tmp_path: Path, bars: gc.Model, data: tuple[np.ndarray, np.ndarray]
) -> None:
    made = save_pictures(tmp_path / "new" / "folder", bars, HISTORY, data)
    assert [path.stem for path in made] == [
        "activations", "history", "filters", "feature_maps", "confusion", "misclassified",
    ]  # fmt: skip
    assert all(path.is_file() for path in made)


def test_numbers_have_curves_and_activations_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 20, 4), np.float32)
    model = gc.Model(
        nn.Sequential(nn.Dense(8), nn.Tanh(), nn.Dense(4)), "f32[N,4]", "mse", optim.SGD(0.1)
    )
    history = model.fit((x, y), epochs=1, progress=None)
    made = save_pictures(tmp_path, model, history, (x, y))
    assert [path.stem for path in made] == ["activations", "history"]


def test_what_is_missing_is_said_before_anything_is_drawn(
    tmp_path: Path, bars: gc.Model, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(gc.GraphcError, match="cannot make the folder"):
        save_pictures(tmp_path / "file", bars, HISTORY, data)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(gc.GraphcError, match="matplotlib"):
        save_pictures(tmp_path / "folder", bars, HISTORY, data)
    assert not (tmp_path / "folder").exists()
