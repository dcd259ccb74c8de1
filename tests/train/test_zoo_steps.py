"""Every network of the zoo trains: steps on one batch move every parameter and lower the loss.

Large ones take smaller images here (`Network.small_input_type`), and two of them fewer features.
AlexNet, VGG-16, GoogLeNet, ResNet-18 and ResNet-50 do their step in `test_against_torch`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import losses, optim, zoo
from graphc.ir.types import TensorType, parse_type
from tests.fixtures.deterministic import SIDES

SAMPLES = 3
BOXES = np.array([[0, 0, 0, 40, 40], [1, 8, 8, 60, 60], [1, 0, 16, 32, 63]], np.float32)
REDUCED: dict[str, dict[str, Any]] = {"fast_rcnn": {"width": 128}, "saliency_fcn": {"width": 128}}
LARGE = [name for name, row in zoo.NETWORKS.items() if row.small_input_type and name not in SIDES]
SMALL = [name for name, row in zoo.NETWORKS.items() if not row.small_input_type]
# Learning rates that suit the gradients of fresh weights: squared distances have large ones, a mean
# over 256 maps behind eleven layers has small ones.
RATES = {"lenet5_original": 1e-3, "saliency_fcn": 30.0}
# The distance of two embeddings does not depend on what is added to both.
WITHOUT_EFFECT = {"pyramid_cnn": {"net.numbers.1.bias"}}


@pytest.mark.parametrize("name", SMALL)
def test_small_networks(name: str, backend: str) -> None:
    row = zoo.NETWORKS[name]
    assert_trains(name, row.build, row.input_types, row.loss, backend)


@pytest.mark.parametrize("name", LARGE)
def test_large_networks(name: str) -> None:
    row = zoo.NETWORKS[name]
    small = row.small_input_type
    types = (small,) if isinstance(small, str) else small
    build = lambda: row.build(**REDUCED.get(name, {}))  # noqa: E731
    assert_trains(name, build, types, row.loss, "llvm")


def test_googlenet_with_auxiliary_classifiers() -> None:
    """Their losses count 0.3 each; both reach the loss, and layers below."""
    build = lambda: zoo.googlenet(auxiliary=True)  # noqa: E731
    first = assert_trains("googlenet", build, ("f32[N,3,80,80]",), losses.Auxiliary(), "llvm")
    assert first == pytest.approx(1.6 * np.log(1000), rel=0.02)


def assert_trains(
    name: str,
    build: Callable[[], Any],
    types: tuple[str, ...],
    loss: str | losses.Loss,
    backend: str,
) -> float:
    """Two steps on one batch, whose first loss is returned."""
    optimizer = optim.SGD(RATES.get(name, 0.01))
    model = gc.Model(build(), types, loss=loss, optimizer=optimizer, backend=backend)
    generator = np.random.default_rng(0)
    x = tuple(drawn(parse_type(t), generator) for t in types)
    if name == "fast_rcnn":
        x = x[0], BOXES
    graph = model.graphs["train"]
    data = [i for i in graph.inputs if i.attrs["kind"] == "data"][len(types) :]
    y = tuple(drawn(i.tensor, generator) for i in data if i.attrs["name"] != "learning_rate")
    before = {key: array.copy() for key, array in model.params.items()}
    first, second = (model.step(x if len(x) > 1 else x[0], y if len(y) > 1 else y[0]) for _ in "12")
    assert np.isfinite(first)
    if not any(node.op.name == "dropout" for node in graph.nodes):
        assert second < first
    still = {key for key, array in model.params.items() if np.array_equal(before[key], array)}
    assert still == WITHOUT_EFFECT.get(name, set())
    return first


def drawn(type: TensorType, generator: np.random.Generator) -> np.ndarray:
    """Images and values in 0..1, or labels 0 and 1."""
    shape = type.concrete(SAMPLES)
    if type.dtype.is_float:
        return generator.random(shape).astype(type.dtype.numpy)
    return generator.integers(0, 2, shape).astype(type.dtype.numpy)
