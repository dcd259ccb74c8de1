"""Diffs of graphs: a line differs where something happened, whatever numbers that shifts."""

from __future__ import annotations

import numpy as np
import pytest

from graphc.ir.diff import names_after
from graphc.ir.graph import Graph
from graphc.ir.text import graph_text, parse
from graphc.passes.base import Pipeline
from graphc.testing import random_graph

BEFORE = """graph net(%x: f32[N,3], %w: parameter f32[3]) {
  %exp = exp(%x) : f32[N,3]
  %log = log(%exp) : f32[N,3]
  %exp_1 = exp(%log) : f32[N,3]
  %neg = neg(%exp_1) : f32[N,3]
  %broadcast = broadcast(%w) {axes=(1,), shape=(N, 3)} : f32[N,3]
  %mul = mul(%neg, %broadcast) : f32[N,3]
  return %mul
}"""
AFTER = """graph net(%x: f32[N,3], %w: parameter f32[3]) {
  %exp_1 = exp(%x) : f32[N,3]
  %neg = neg(%exp_1) : f32[N,3]
  %sqrt = sqrt(%neg) : f32[N,3]
  %broadcast = broadcast(%w) {axes=(1,), shape=(N, 3)} : f32[N,3]
  %mul = mul(%sqrt, %broadcast) : f32[N,3]
  return %mul
}"""


def changed(before: Graph, after: Graph) -> list[str]:
    lines = before.diff(after).splitlines()[2:]
    return [line.partition("  #")[0] for line in lines if line[:1] in "+-"]


def test_a_graph_differs_from_itself_in_nothing() -> None:
    graph = parse(BEFORE)
    assert graph.diff(parse(BEFORE)) == ""


def test_what_does_the_same_with_other_inputs_keeps_its_name() -> None:
    assert changed(parse(BEFORE), parse(AFTER)) == [
        "-  %log = log(%exp) : f32[N,3]",
        "-  %exp_1 = exp(%log) : f32[N,3]",
        "-  %neg = neg(%exp_1) : f32[N,3]",
        "+  %neg = neg(%exp) : f32[N,3]",
        "+  %sqrt = sqrt(%neg) : f32[N,3]",
        "-  %mul = mul(%neg, %broadcast) : f32[N,3]",
        "+  %mul = mul(%sqrt, %broadcast) : f32[N,3]",
    ]


def test_it_is_a_unified_diff() -> None:
    lines = parse(BEFORE).diff(parse(AFTER)).splitlines()
    assert lines[:2] == ["--- net", "+++ net"]
    assert lines[2].startswith("@@ -1,") and all(line[:1] in "+- @" for line in lines[2:])


def test_a_new_node_takes_no_name_that_is_or_was_another_nodes() -> None:
    before = parse("graph g(%x: f32[3]) { %exp = exp(%x) : f32[3] return %exp }")
    after = parse(
        "graph g(%x: f32[3], %exp: f32[3]) {"
        " %a = exp(%exp) : f32[3] %b = neg(%a) : f32[3] return %b }"
    )
    assert list(names_after(before, after).values()) == ["x", "exp", "exp_1", "neg"]


@pytest.mark.parametrize("seed", range(40))
def test_the_new_side_is_the_text_of_the_new_graph(seed: int) -> None:
    before = random_graph(np.random.default_rng(seed))
    after = Pipeline.parse("decompose,simplify,fuse")(before)
    names = names_after(before, after)
    assert len(set(names.values())) == len(after)
    assert parse(graph_text(after, names=names)) is after
