"""The testing kit, and pictures of what was found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.inspect import pictures
from graphc.ir.types import parse_type
from graphc.testing.definition import by_definition

SQUARE = gc.trace(lambda x: (x * x).sum(), "f32[N,3]")
X, IMAGES = np.ones((2, 3), np.float32), np.zeros((2, 4, 4))


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
    # pictures
    lambda folder: pictures.save_images("picture.png", IMAGES, captions=["one"]),
    lambda folder: pictures.save_images("picture.png", IMAGES[0]),
    lambda folder: pictures.save_images(folder / "absent" / "picture.png", IMAGES),
    lambda folder: pictures.save_curves("picture.png", {}),
    lambda folder: pictures.save_histograms("picture.png", {"layer": {}}),
    lambda folder: pictures.save_histograms("picture.png", {"layer": [1.0]}),
    lambda folder: pictures.save_boxes("picture.png", IMAGES, [[]], [[]]),
    _without_matplotlib,
)
