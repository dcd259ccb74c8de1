"""Printed graphs before and after passes, compared with files; refreshed by --update-golden."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline
from tests.fixtures.graphs import (
    ALGEBRA,
    DENSE,
    DISTANCE,
    FLATTENED,
    NORMALISED,
    NUMBERS,
    SMALL_NET,
    STEP,
)

Golden = Callable[[str, object], None]

CASES = {
    "simplify": (ALGEBRA, "simplify"),
    "simplify_fastmath": (NUMBERS, "simplify{fastmath=True}"),
    "decompose": (DENSE, "decompose"),
    "differentiate": (DENSE, "differentiate"),
    "differentiate_simplify": (DISTANCE, "differentiate,decompose,simplify"),
    "fold_flatten": (FLATTENED, "block_channels,fold_flatten,pack_parameters"),
    "pack_parameters": (STEP, "block_channels,pack_parameters"),
    "svd": (DENSE, "svd{rank=1}"),
    "fold_batch_norm": (NORMALISED, "fold_batch_norm"),
    "dense_to_conv": (SMALL_NET, "dense_to_conv{height=10,width=8}"),
    "conv_to_dense": (SMALL_NET, "conv_to_dense"),
}


@pytest.mark.parametrize(("text", "passes"), CASES.values(), ids=CASES)
def test_printed_before_and_after(
    text: str, passes: str, golden: Golden, request: pytest.FixtureRequest
) -> None:
    before = gc.parse(text)
    after = Pipeline.parse(passes)(before)
    golden(request.node.callspec.id, f"{before}\n\n{passes}\n\n{after}")
    assert parsed_again(after) is after


def parsed_again(graph: Graph) -> Graph:
    return gc.parse(str(graph))
