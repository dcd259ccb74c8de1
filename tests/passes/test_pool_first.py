"""Max pooling before activations, and which kernel finds the winners of its windows."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim, zoo
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import parse_type, shape_text
from graphc.ops import reductions
from graphc.ops.pooling.maximum import MAX_POOL2D_INDEX, max_pool2d, winner
from graphc.passes.autodiff import gradients
from graphc.passes.pipelines import BACKEND
from graphc.passes.pool_first import NEVER_FALLING, PoolFirst

IMAGES = "f32[N,2,6,6]"


def names(graph: Graph) -> list[str]:
    return [n.op.name for n in graph.nodes if n.op.name != "input"]


def pooled(activation: nn.Module, pooling: nn.Module) -> Graph:
    return gc.trace(nn.Sequential(activation, pooling), IMAGES)


@pytest.mark.parametrize("name", NEVER_FALLING)
def test_the_activation_comes_second_and_the_result_is_the_same(name: str) -> None:
    activation = {"relu": nn.relu, "tanh": nn.tanh, "sigmoid": nn.sigmoid}.get(name, nn.scaled_tanh)
    graph = gc.trace(lambda x: nn.MaxPool(2)(activation(x)), IMAGES)
    after = PoolFirst()(graph)
    assert names(after) == ["max_pool2d", name]
    x = np.random.default_rng(0).standard_normal((3, 2, 6, 6), np.float32)
    x[0, 0, 0, 0] = np.nan
    run, as_written = gc.compile(after, "llvm"), gc.compile(graph, "numpy")
    np.testing.assert_allclose(run(x), as_written(x), rtol=1e-6)


@pytest.mark.parametrize(
    "graph",
    [
        pooled(nn.Tanh(), nn.AvgPool(2)),
        pooled(nn.GELU(), nn.MaxPool(2)),  # falls below -0.75
        gc.trace(lambda x: (lambda y: (nn.MaxPool(2)(y), y))(nn.tanh(x)), IMAGES),
        gc.trace(lambda x: (lambda y: (nn.MaxPool(2)(y), y * 2.0))(nn.tanh(x)), IMAGES),
    ],
    ids=["mean", "not monotone", "an output", "read twice"],
)
def test_other_activations_stay(graph: Graph) -> None:
    assert PoolFirst()(graph) is graph


def training_step() -> Graph:
    model = gc.Model(zoo.mcdnn(), "f32[N,1,29,29]", "cross_entropy", optim.SGD(0.1))
    return model.graphs["train"]


def test_a_training_step_takes_gradients_of_what_is_pooled() -> None:
    sizes = [n.tensor.shape[2:] for n in training_step().nodes if n.op.name == "tanh"]
    assert sizes == [(13, 13), (3, 3), ()]


def test_the_kernel_that_pools_finds_the_winners_and_the_gradient_reads_their_numbers() -> None:
    fused = [n.attrs["body"] for n in BACKEND["large"](training_step()).nodes if "body" in n.attrs]
    kernels = [set(names(body)) for body in fused]
    pooling = [k for k in kernels if "max_pool2d" in k]
    assert len(pooling) == 2 and all({"tanh", "equal", "where"} <= k for k in pooling)
    assert not any({"max_unpool2d", "equal"} <= k for k in kernels)


@pytest.mark.parametrize("window", [(2, 2), (3, 2)])
def test_the_winner_is_the_first_of_equals_or_of_nans(window: tuple[int, int]) -> None:
    x = make_input("x", parse_type(IMAGES))
    y = max_pool2d(x, window=window)
    graph = Graph("winners", [x], [winner(x, y, y.attrs), y])
    assert "max_pool2d_index" not in names(graph)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 3, (20, 2, 6, 6)).astype(np.float32)
    images[rng.random(images.shape) < 0.1] = np.nan
    expected = MAX_POOL2D_INDEX.numpy(
        images, gc.compile(graph, "numpy")(images)[1], n=20, **y.attrs
    )
    for backend in ("numpy", "llvm"):
        np.testing.assert_array_equal(gc.compile(graph, backend)(images)[0], expected)


@pytest.mark.parametrize(
    ("window", "dtype"), [((2, 2), "u8"), ((16, 16), "u8"), ((16, 17), "i32"), ((257, 1), "i32")]
)
@pytest.mark.parametrize("overlapping", [False, True])
def test_a_winner_is_one_byte_where_the_window_allows(
    window: tuple[int, int], dtype: str, overlapping: bool
) -> None:
    x = make_input("x", parse_type(f"f32[N,2,{2 * window[0]},{2 * window[1]}]"))
    stride = 1 if overlapping else window
    y = max_pool2d(x, window=window, stride=stride)
    number = winner(x, y, y.attrs)
    assert str(number.type) == f"{dtype}{shape_text(y.tensor.shape)}"
    graph = Graph("winners", [x], [number, *gradients(reductions.sum(y), [x])])
    images = np.random.default_rng(0).permutation(8 * window[0] * window[1])
    images = images.reshape(x.tensor.concrete(1)).astype(np.float32)
    found, gradient = gc.compile(graph, "llvm")(images)
    windows = np.lib.stride_tricks.sliding_window_view(images, window, (2, 3))
    windows = windows[:, :, :: y.attrs["stride"][0], :: y.attrs["stride"][1]]
    best = windows.reshape(*y.tensor.concrete(1), -1).argmax(axis=-1)
    np.testing.assert_array_equal(found, best)
    np.testing.assert_array_equal(gradient, gc.compile(graph, "numpy")(images)[1])
    assert gradient.sum() == best.size


def test_windows_that_overlap_or_are_padded_keep_an_index_of_their_own() -> None:
    for options in ({"window": 3, "stride": 2}, {"window": 2, "padding": 1}, {"window": 4}):
        x = make_input("x", parse_type(IMAGES))
        y = max_pool2d(x, **options)
        number = winner(x, y, y.attrs)
        assert number.op.name == "cast" and number.inputs[0].op is MAX_POOL2D_INDEX
