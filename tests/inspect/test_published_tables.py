"""Summaries of LeNet-5 and VGG-16 say what is printed of them, row by row."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import graphc as gc
from graphc.inspect import SummaryRow, summary
from graphc.ir.types import parse_type
from graphc_nn.zoo import NETWORKS

FILE = Path(__file__).parents[1] / "fixtures" / "published_layers.json"
PUBLISHED: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))


def rows_of(name: str) -> dict[str, SummaryRow]:
    network = NETWORKS[name]
    return {row.layer: row for row in summary(network.build(), *network.input_types).rows}


def agrees(number: float, printed: str) -> bool:
    """Whether `number`, rounded to as many digits, is what a table prints with K, M or G."""
    size = {"K": 1e3, "M": 1e6, "G": 1e9}[printed[-1]]
    decimals = len(printed[:-1].partition(".")[2])
    return round(number / size, decimals) == float(printed[:-1])


@pytest.mark.parametrize("name", ["lenet5", "lenet5_original"])
def test_lenet5(name: str) -> None:
    rows = rows_of(name)
    for expected in PUBLISHED[name]["layers"]:
        row = rows[expected["layer"]]
        assert row.output == expected["output"], expected["name"]
        assert row.parameters == expected["parameters"], expected["name"]
        assert list(row.receptive_field or ()) == (expected["sees"] or []), expected["name"]
    codes = rows["13"].parameters if name == "lenet5_original" else 0
    assert sum(row.parameters for row in rows.values()) - codes == PUBLISHED[name]["total"]


def test_vgg16() -> None:
    expected, rows = PUBLISHED["vgg16"], rows_of("vgg16")
    trained = [row for row in rows.values() if row.parameters]
    shapes = [parse_type(row.output).concrete(1) for row in trained]
    weights = [row.parameters - shape[1] for row, shape in zip(trained, shapes, strict=True)]
    assert all(agrees(w, text) for w, text in zip(weights, expected["weights"], strict=True))
    assert all(
        agrees(math.prod(s), text) for s, text in zip(shapes, expected["values"], strict=True)
    )
    assert [f[0] for row in trained if (f := row.receptive_field)] == expected["sees"]
    assert sum(row.parameters for row in rows.values()) == expected["total"]
    assert agrees(sum(row.flops for row in rows.values()) / 2, expected["multiply_adds"])


def test_the_model_has_the_same_table() -> None:
    model = gc.Model(gc.zoo.lenet5(), "f32[N,1,32,32]", backend="numpy")
    assert [row.parameters for row in model.summary().rows] == [
        row.parameters for row in rows_of("lenet5").values()
    ]
