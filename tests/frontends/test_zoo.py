"""The zoo: parameter counts, output types, and the counts that docstrings state."""

from __future__ import annotations

import re

import pytest

import graphc as gc
from graphc import zoo

COUNTS = {
    "lenet5": 61_706,
    "mlp": 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10,
    "cifar_small": (12 * 75 + 12) + (24 * 300 + 24) + (6000 + 10),
    "mcdnn": 76_040,
    "autoencoder": 2 * (784 * 784 + 784) + 7850,
    "sigmoid_2_2_2": 12,
}


def sizes(name: str) -> dict[str, int]:
    network = zoo.NETWORKS[name]
    graph = gc.trace(network.build(), network.input_type)
    return {
        i.attrs["name"]: i.tensor.count() for i in graph.inputs if i.attrs["kind"] == "parameter"
    }


def test_every_network_has_a_known_count() -> None:
    assert zoo.NETWORKS.keys() == COUNTS.keys()


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_count(name: str) -> None:
    assert sum(sizes(name).values()) == COUNTS[name]
    stated = re.search(r"([\d,]+) parameters", zoo.NETWORKS[name].build.__doc__)
    assert int(stated[1].replace(",", "")) == COUNTS[name]


def test_lenet5_layer_by_layer() -> None:
    found = sizes("lenet5")
    layers = {k: found[f"{k}.weight"] + found[f"{k}.bias"] for k in ("0", "3", "7", "9", "11")}
    assert layers == {"0": 156, "3": 2416, "7": 48_120, "9": 10_164, "11": 850}


@pytest.mark.parametrize("name", [n for n in COUNTS if n != "sigmoid_2_2_2"])
def test_classifiers_give_ten_logits_and_print_to_what_they_are(name: str) -> None:
    network = zoo.NETWORKS[name]
    graph = gc.trace(network.build(), network.input_type)
    assert str(graph.outputs[0].tensor) == "f32[N,10]"
    assert gc.parse(str(graph)) is graph
    assert len(graph.inputs) - 1 == len(sizes(name))
