"""Worked examples of the lecture decks, to the digit, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ops.contractions import conv2d
from graphc.ops.elementwise import relu
from graphc.ops.pooling import max_pool2d
from graphc.tracing.tensor import function

convolve, rectify, pool = function(conv2d), function(relu), function(max_pool2d)
Rows = list[list[float]]


def _run(backend: str, network: Callable[..., Any], *arrays: Any) -> Any:
    images = [np.asarray(a, np.float32) for a in arrays]
    types = [f"f32[{','.join(map(str, a.shape))}]" for a in images]
    names = ["x"] if len(images) == 1 else [f"x{k}" for k in range(len(images))]
    graph = gc.trace(network, *types)
    return gc.compile(graph, backend)(**dict(zip(names, images, strict=True)))


# -- convolution -----------------------------------------------------------------------------------

CHANNELS = [
    [[3, 2, 2, 0, 0], [3, 2, 0, 3, 1], [4, 3, 1, 4, 0], [4, 4, 0, 2, 0], [0, 0, 4, 2, 2]],
    [[4, 1, 4, 2, 3], [2, 3, 4, 0, 0], [1, 2, 0, 1, 4], [2, 3, 1, 0, 0], [3, 1, 4, 4, 0]],
    [[2, 4, 4, 2, 0], [2, 0, 0, 3, 4], [1, 4, 1, 2, 0], [4, 1, 3, 0, 0], [2, 2, 0, 4, 4]],
]
FILTER = [
    [[0, 0, 0], [-1, 1, 0], [-1, 1, -1]],
    [[0, 1, 0], [0, 0, 1], [1, 1, -1]],
    [[-1, 1, 0], [1, 0, 1], [1, 1, 1]],
]
BIAS = -3.0


@pytest.mark.parametrize(
    ("stride", "expected"),
    [(1, [[12, 4, 7], [11, 8, 14], [10, 0, 16]]), (2, [[12, 7], [10, 16]])],
)
def test_convolution_of_three_channels(stride: int, expected: Rows, backend: str) -> None:
    found = _run(backend, lambda x, w: convolve(x, w, stride=stride) + BIAS, [CHANNELS], [FILTER])
    assert found[0, 0].tolist() == expected


# -- max pooling -----------------------------------------------------------------------------------


def test_max_pooling(backend: str) -> None:
    image = [
        [2, 2, 0, 4, 3, 4],
        [0, 0, 5, 0, 4, 1],
        [4, 5, 2, 5, 1, 4],
        [5, 2, 1, 0, 2, 1],
        [2, 3, 3, 3, 5, 3],
        [0, 3, 0, 4, 0, 1],
    ]
    found = _run(backend, lambda x: pool(x, window=2), [[image]])
    assert found[0, 0].tolist() == [[2, 5, 4], [5, 5, 4], [3, 4, 5]]


# -- X or O ----------------------------------------------------------------------------------------

F1 = [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
F2 = [[1, -1, 1], [-1, 1, -1], [1, -1, 1]]
F3 = [row[::-1] for row in F1]
POOLED = [
    [[1, 0.33, 0.55, 0.33], [0.33, 1, 0.33, 0.55], [0.55, 0.33, 1, 0.11], [0.33, 0.55, 0.11, 0.77]],
    [
        [0.55, 0.33, 0.55, 0.33],
        [0.33, 1, 0.55, 0.11],
        [0.55, 0.55, 0.55, 0.11],
        [0.33, 0.11, 0.11, 0.33],
    ],
    [[0.33, 0.55, 1, 0.77], [0.55, 0.55, 1, 0.33], [1, 1, 0.11, 0.55], [0.77, 0.33, 0.55, 0.33]],
]


def _x_image() -> np.ndarray:
    image = np.full((9, 9), -1.0, np.float32)
    for k in range(1, 8):
        image[k, k] = image[k, 8 - k] = 1.0
    return image[None, None]


def _cut(values: np.ndarray) -> Rows:
    """Digits are cut, not rounded; ninths in f32 lie on either side of no two-digit number."""
    return (np.trunc(values.astype(np.float64) * 100 + np.sign(values) * 1e-4) / 100).tolist()


def test_the_first_row_of_the_first_map_of_an_x(backend: str) -> None:
    filters = np.array([[F1]], np.float32) / 9
    found = _run(backend, convolve, _x_image(), filters)
    assert _cut(found[0, 0, 0]) == [0.77, -0.11, 0.11, 0.33, 0.55, -0.11, 0.33]


def test_what_the_network_for_x_and_o_sees_in_an_x(backend: str) -> None:
    filters = np.array([[F1], [F2], [F3]], np.float32) / 9

    def network(x: Any, w: Any) -> Any:
        return pool(rectify(convolve(x, w)), window=2, ceil_mode=True)

    found = _run(backend, network, _x_image(), filters)
    assert found.shape == (1, 3, 4, 4)
    for k, expected in enumerate(POOLED):
        assert _cut(found[0, k]) == expected


# -- image kernels ---------------------------------------------------------------------------------

IMAGE = np.arange(64, dtype=np.float32).reshape(8, 8) ** 2 % 97
KERNELS: dict[str, tuple[Rows, float]] = {
    "identity": ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1),
    "sharpen": ([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], 1),
    "edges of corners": ([[1, 0, -1], [0, 0, 0], [-1, 0, 1]], 1),
    "edges, 4 neighbours": ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1),
    "edges, 8 neighbours": ([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], 1),
    "box blur": ([[1, 1, 1]] * 3, 9),
    "gaussian blur": ([[1, 2, 1], [2, 4, 2], [1, 2, 1]], 16),
}


@pytest.mark.parametrize("name", KERNELS)
def test_image_kernels(name: str, backend: str) -> None:
    """The image's elements are whole numbers, so that sums are exact; the division rounds once."""
    rows, divisor = KERNELS[name]
    kernel = np.array(rows)
    expected = np.array(
        [[(IMAGE[y : y + 3, x : x + 3] * kernel).sum() for x in range(6)] for y in range(6)]
    )
    weights = np.array([[rows]], np.float32)
    found = _run(backend, lambda x, w: convolve(x, w) / float(divisor), IMAGE[None, None], weights)
    assert found[0, 0].tolist() == (expected.astype(np.float32) / np.float32(divisor)).tolist()
    if name == "identity":
        assert found[0, 0].tolist() == IMAGE[1:-1, 1:-1].tolist()
    if "edges" in name:
        flat = np.full((1, 1, 8, 8), 7, np.float32)
        assert not _run(backend, convolve, flat, weights).any()


def test_constant_images_are_what_blurs_leave_alone(backend: str) -> None:
    flat = np.full((1, 1, 8, 8), 9, np.float32)
    for name in ("box blur", "gaussian blur", "sharpen", "identity"):
        rows, divisor = KERNELS[name]
        found = _run(backend, lambda x, w, d=divisor: convolve(x, w) / float(d), flat, [[rows]])
        assert (found == 9).all(), name
