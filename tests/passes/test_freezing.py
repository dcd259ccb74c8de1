"""Frozen parameters: the nodes of their gradients are not in the printed training step."""

from __future__ import annotations

import gc as garbage
import re

import pytest

import graphc as gc
from graphc import nn, optim
from graphc.passes.base import Pipeline


def printed(*frozen: str) -> str:
    """The text of a training step of a convolution and two dense layers."""
    net = nn.Sequential(nn.Conv(3, 3), nn.Tanh(), nn.Flatten(), nn.Dense(5), nn.ReLU(), nn.Dense(4))
    optimizer = optim.SGD(0.1, momentum=0.9)
    model = gc.Model(net, "f32[N,1,6,6]", "cross_entropy", optimizer, "numpy", frozen=frozen)
    return str(Pipeline.parse("decompose,simplify")(model.graphs["train"]))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    """Nodes say what they were first made for: none of another test's is there."""
    garbage.collect()


def gradients(text: str) -> set[str]:
    """The ops that have gradient nodes."""
    return set(re.findall(r"gradient of %?([a-z]\w*?)(?:_\d+)?\b", text))


def written(text: str) -> set[str]:
    """The inputs that the step overwrites, momentum aside."""
    found = re.findall(r'into %"?([\w.]+)', text)
    return {name for name in found if not name.endswith("velocity")}


def test_without_frozen_parameters_every_layer_has_a_gradient() -> None:
    text = printed()
    assert {"conv2d", "tanh", "relu"} <= gradients(text)
    assert "conv2d_weight_grad(" in text


def test_frozen_first_layers_leave_no_gradient_nodes_of_theirs_or_of_what_is_behind() -> None:
    text = printed("0.*", "3.*")
    assert not {"conv2d", "tanh", "relu"} & gradients(text)
    assert "conv2d_weight_grad" not in text
    assert not [name for name in written(text) if name.startswith(("0.", "3."))]
    assert '%"0.weight": parameter' in text  # read, not trained


def test_a_frozen_layer_in_the_middle_is_passed_through() -> None:
    text = printed("3.*")
    assert {"conv2d", "tanh", "relu"} <= gradients(text)
    products = [len(re.findall(r"= matmul\(", t)) for t in (text, printed())]
    assert products[0] == products[1] - 1  # the gradient of its weight alone
    assert {"0.weight", "0.bias"} <= written(text) and "3.weight" not in written(text)
