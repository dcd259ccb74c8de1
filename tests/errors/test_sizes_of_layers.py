"""Every size of every layer, set to what makes no sense: an error of four parts, nothing else.

The sizes are the parameters that layers declare as whole numbers or pairs of them, so a new layer
is tested as soon as it has a row in LAYERS, and a test fails if it has none.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import graphc as gc
from graphc import nn

SIZES = ("int", "Pair", "Pair | None", "Padding")
IMAGE, MATRIX = "f32[N,4,6,6]", "f32[N,4]"

# What a layer is built with, and the inputs that it takes.
LAYERS: dict[str, tuple[Any, ...]] = {
    "AdaptiveAvgPool": ((2,), IMAGE),
    "AvgPool": ((2,), IMAGE),
    "Conv": ((4, 3), IMAGE),
    "ConvTranspose": ((4, 3), IMAGE),
    "Crop": ((1,), IMAGE),
    "Dense": ((3,), MATRIX),
    "GroupNorm": ((2,), IMAGE),
    "L2Pool": ((2,), IMAGE),
    "LocalContrastNorm": ((3,), IMAGE),
    "LocalResponseNorm": ((), IMAGE),
    "LocallyConnected": ((4, 3), IMAGE),
    "LogSoftmax": ((), MATRIX),
    "MaxPool": ((2,), IMAGE),
    "Pad": ((1,), IMAGE),
    "RBF": ((3,), MATRIX),
    "RoIMaxPool": ((2,), "f32[2,4,6,6]", "f32[N,5]"),
    "Softmax": ((), MATRIX),
    "Subsample": ((2,), IMAGE),
    "Upsample": ((2,), IMAGE),
}
BAD = (0, -1, 2**31, 2**63 - 1, 1.5, float("nan"), "2", (), (1, 2, 3), (1, -1), True, [0, 0])

# What is a size after all: nothing at the border is a border, and axes count from the end too.
BORDER = (0, [0, 0])
ALLOWED = {"padding": BORDER, "output_padding": BORDER, "margin": BORDER, "axis": (0, -1)}


def _sizes(layer: type) -> list[str]:
    parameters = inspect.signature(layer).parameters.values()
    return [p.name for p in parameters if p.annotation in SIZES and p.kind is not p.VAR_POSITIONAL]


def _layers() -> Iterator[tuple[str, type]]:
    for name in dir(nn):
        found = getattr(nn, name)
        if isinstance(found, type) and issubclass(found, nn.Module) and _sizes(found):
            yield name, found


def test_every_layer_with_sizes_has_a_row() -> None:
    assert {name for name, _ in _layers()} == LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_the_sizes_of_the_table_make_sense(name: str) -> None:
    positional, *types = LAYERS[name]
    assert gc.trace(getattr(nn, name)(*positional), *types).outputs


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name, layer in _layers() for size in _sizes(layer)]
)
def test_a_size_that_makes_no_sense_is_an_error(name: str, size: str) -> None:
    layer = getattr(nn, name)
    positional, *types = LAYERS[name]
    good = inspect.signature(layer).bind(*positional).arguments
    for bad in BAD:
        if bad in ALLOWED.get(size, ()):
            continue
        with pytest.raises(gc.GraphcError) as caught:
            gc.trace(layer(**{**good, size: bad}), *types)
        error = caught.value
        assert error.what and error.remedy and (error.node or error.called), bad
        assert error.location is not None and error.location.file == __file__
