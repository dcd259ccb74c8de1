"""Worked examples of the lecture decks, to the digit, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.graph import Graph
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


# -- counts ----------------------------------------------------------------------------------------


def _parameters(net: Callable[..., Any], input_type: str, name: str = "") -> list[int]:
    """How many numbers each parameter holds whose name ends in `name`."""
    inputs = gc.trace(net, input_type).inputs
    held = [i for i in inputs if i.attrs["kind"] == "parameter"]
    return [i.tensor.count() for i in held if i.attrs["name"].endswith(name)]


def test_weights_of_a_fully_connected_net_3_4_4_1() -> None:
    net = nn.Sequential(nn.Dense(4), nn.Sigmoid(), nn.Dense(4), nn.Sigmoid(), nn.Dense(1))
    assert _parameters(net, "f32[N,3]", "weight") == [12, 16, 4]


@pytest.mark.parametrize(
    ("layer", "channels", "parameters"),
    [
        (nn.LocallyConnected(1, 3), 1, 30**2 * (9 + 1)),
        (nn.LocallyConnected(1, 3), 3, 25_200),
        (nn.Conv(1, 3), 3, 28),
        (nn.Conv(4, 3), 3, 112),
        (nn.Conv(100, 10, bias=False), 1, 10_000),
    ],
    ids=repr,
)
def test_parameters_of_local_and_of_shared_weights(layer, channels, parameters) -> None:
    assert sum(_parameters(layer, f"f32[N,{channels},32,32]")) == parameters


def test_parameters_of_an_image_fully_connected_to_an_image() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dense(32 * 32), nn.Reshape(1, 32, 32))
    assert sum(_parameters(net, "f32[N,1,32,32]")) == 1024 * (1024 + 1)


@pytest.mark.parametrize(("kernel", "window"), [(3, 2), (5, 2), (4, 3)])
def test_after_a_convolution_and_a_pool_a_pixel_sees_p_plus_k_minus_1(kernel, window) -> None:
    """The pixels on which the gradient of one output is not zero."""
    net = nn.Sequential(nn.Conv(1, kernel, bias=False), nn.AvgPool(window))
    graph = gc.trace(lambda x, w: nn.avg_pool2d(nn.conv2d(x, w), window=window)[:, :, 1, 1].sum(),
                     "f32[N,1,20,20]", f"f32[1,1,{kernel},{kernel}]")  # fmt: skip
    slopes = gc.compile(gc.grad(graph, ["x0"]), "numpy")
    seen = slopes(np.zeros((1, 1, 20, 20), np.float32), np.ones((1, 1, kernel, kernel), np.float32))
    for axis in (2, 3):
        assert (seen != 0).any(axis=5 - axis).sum() == window + kernel - 1
    rows = gc.inspect.summary(gc.trace(net, "f32[N,1,20,20]")).rows
    assert rows[-1].receptive_field == (window + kernel - 1,) * 2


def test_a_hundred_thousand_steps_of_four_over_ten_thousand_images_are_40_epochs() -> None:
    images = gc.data.Dataset(np.zeros((10_000, 1)), np.zeros(10_000))
    steps = sum(1 for _ in images.batches(4))
    assert 100_000 / steps == 40


def test_backpropagation_costs_about_twice_the_forward_pass() -> None:
    """A dense layer but the first: one product forwards, two backwards."""
    net = nn.Sequential(*(nn.Dense(256) for _ in range(8)), lambda y: y.sum())
    forward = gc.trace(net, "f32[N,256]")
    step = Graph("step", forward.inputs, [*forward.outputs, *gc.grad(forward).outputs])
    both, once = (gc.inspect.graph_flops(graph, 64) for graph in (step, forward))
    assert 1.8 < (both - once) / once < 2.0
