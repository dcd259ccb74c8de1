"""The testing kit, and pictures of what was found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.inspect import figure, model_pictures, pictures
from graphc.inspect.activations import activations
from graphc.ir.types import parse_type
from graphc.passes.base import Pipeline
from graphc.testing import Failure, PassesTrial, Reduction
from graphc.testing.definition import by_definition
from graphc.train.history import History

SQUARE = gc.trace(lambda x: (x * x).sum(), "f32[N,3]")
SIMPLIFY = Pipeline.parse("simplify")
TRIAL, SLOW = PassesTrial(SIMPLIFY), Failure("pass simplify", "wrong", "slow")
X, IMAGES = np.ones((2, 3), np.float32), np.zeros((2, 4, 4))
PIXELS = np.ones((1, 1, 4, 4), np.float32)
FILTERS = gc.Model(nn.Sequential(nn.Conv(2, 3), nn.Flatten(), nn.Dense(3)), "f32[N,1,4,4]")
UNITS = gc.Model(nn.Dense(2), "f32[N,3]")
HEADS = gc.Model(lambda x: (x, -x), "f32[N,3]")


def _without_matplotlib(folder: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.patches", None)
        return pictures.save_boxes("picture.png", IMAGES, [[], []], [[], []])


CASES = (
    lambda folder: by_definition(gc.trace(gc.nn.softmax, "f32[N,3]").outputs[0], [X], 2),
    lambda folder: gc.testing.draw(parse_type("f32[3]"), 1, np.random.default_rng(0), "round"),
    lambda folder: gc.testing.random_graph(np.random.default_rng(0), ops=["softmin"]),
    lambda folder: gc.testing.check_grads(SQUARE, [X], order=3),
    lambda folder: gc.testing.check_grads(SQUARE, [X, X]),
    lambda folder: gc.testing.check_grads(SQUARE, {"y": X}),
    lambda folder: gc.testing.check_grads(lambda x: gc.nn.log(x), [np.array([-1.0])]),
    lambda folder: gc.testing.compare(SQUARE, {"x": X}, 2, [np.float32(7.0)]),
    lambda folder: gc.testing.bisect(SQUARE, SIMPLIFY),
    lambda folder: gc.testing.bisect(SQUARE, SIMPLIFY, lambda graph: True),
    lambda folder: gc.testing.bisect(SQUARE, Pipeline.parse("differentiate")),
    lambda folder: gc.testing.reduce(SQUARE, lambda graph: False),
    lambda folder: Reduction(SQUARE, SQUARE, TRIAL, SLOW).write_test("absent/test.py"),
    # pictures
    lambda folder: pictures.save_images("picture.png", IMAGES, captions=["one"]),
    lambda folder: pictures.save_images("picture.png", IMAGES[0]),
    lambda folder: pictures.save_images(folder / "absent" / "picture.png", IMAGES),
    lambda folder: pictures.save_curves("picture.png", {}),
    lambda folder: pictures.save_histograms("picture.png", {"layer": {}}),
    lambda folder: pictures.save_histograms("picture.png", {"layer": [1.0]}),
    lambda folder: pictures.save_boxes("picture.png", IMAGES, [[]], [[]]),
    lambda folder: pictures.save_strips("picture.png", {}),
    lambda folder: pictures.save_matrix("picture.png", IMAGES),
    lambda folder: pictures.save_distributions("picture.png", {}),
    lambda folder: figure.picture_folder(__file__),
    lambda folder: activations(UNITS, X, ["1"]),
    lambda folder: model_pictures.save_filters("picture.png", UNITS),
    lambda folder: model_pictures.save_filters("picture.png", FILTERS, "2"),
    lambda folder: model_pictures.save_feature_maps("picture.png", FILTERS, X),
    lambda folder: model_pictures.save_feature_maps("picture.png", FILTERS, PIXELS, "2"),
    lambda folder: model_pictures.save_history("picture.png", History()),
    lambda folder: model_pictures.save_confusion("picture.png", HEADS, (X, X)),
    lambda folder: model_pictures.save_misclassified("p.png", UNITS, (X, [0, 1]), names=["a"]),
    _without_matplotlib,
)
