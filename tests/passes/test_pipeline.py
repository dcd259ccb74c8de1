"""Pipelines and their text: what prints parses back, and what cannot be read is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

import graphc as gc
from graphc.base.errors import GraphcError, InternalError
from graphc.ir.graph import Graph
from graphc.passes.base import PASSES, Instrument, Pass, Pipeline
from graphc.passes.catalog import describe_passes
from graphc.passes.compress import CompressDense
from graphc.passes.decompose import Decompose
from graphc.passes.simplify import Simplify


def test_text_parses_to_passes_with_options() -> None:
    found = Pipeline.parse(" simplify{fastmath=True} , decompose,compress_dense{ rank = 8 } ")
    assert found == Pipeline((Simplify(fastmath=True), Decompose(), CompressDense(rank=8)))
    assert str(found) == "simplify{fastmath=True},decompose,compress_dense{rank=8}"
    assert Pipeline.parse(str(found)) == found


def test_defaults_are_not_printed_and_no_text_is_no_pass() -> None:
    assert str(Simplify()) == "simplify"
    assert Pipeline.parse("  ") == Pipeline(())
    graph = gc.trace(lambda x: x + 1.0, "f32[N]")
    assert Pipeline(())(graph) is graph


@pytest.mark.parametrize("kind", sorted(PASSES))
def test_every_pass_prints_what_parses_back(kind: str) -> None:
    assert Pipeline.parse(kind).passes == (PASSES[kind](),)
    assert str(Pipeline.parse(kind)) == kind


UNREADABLE = {
    "nosuch": "there is no pass named 'nosuch'",
    "simplify{slow=1}": "pass simplify has no option 'slow=1'",
    "simplify{fastmath}": "has no option 'fastmath'",
    "simplify{fastmath=maybe}": "option fastmath='maybe' is not of type bool",
    "svd{rank=many}": "option rank='many' is not of type int",
    "svd{values=1}": "has no option 'values=1'",
    "simplify{fastmath=True": "cannot read the pipeline",
    "simplify,,decompose": "cannot read the pipeline",
    "simplify,": "cannot read the pipeline",
    ",simplify": "cannot read the pipeline",
    "simplify decompose": "cannot read the pipeline",
    "simplify}": "cannot read the pipeline",
}


@pytest.mark.parametrize(("text", "message"), UNREADABLE.items(), ids=UNREADABLE)
def test_what_cannot_be_read_is_said(text: str, message: str) -> None:
    with pytest.raises(GraphcError, match=message) as caught:
        Pipeline.parse(text)
    assert caught.value.remedy


def test_an_unknown_pass_lists_those_there_are() -> None:
    with pytest.raises(GraphcError) as caught:
        Pipeline.parse("nosuch")
    for name in ("simplify", "differentiate", "svd"):
        assert name in str(caught.value.remedy)


def test_instruments_see_every_pass_in_order() -> None:
    seen: list[tuple[str, str]] = []

    class Watch(Instrument):
        def before(self, step: Pass, graph: Graph) -> None:
            seen.append(("before", step.name))

        def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
            assert seconds >= 0
            seen.append(("after", step.name))

    graph = gc.trace(lambda x: x * 1.0, "f32[N]")
    Pipeline((Simplify(), Decompose()))(graph, [Watch()])
    assert seen == [
        ("before", "simplify"),
        ("after", "simplify"),
        ("before", "decompose"),
        ("after", "decompose"),
    ]


def test_two_passes_of_one_name_are_a_defect() -> None:
    with pytest.raises(InternalError, match="pass 'simplify' is declared twice"):

        @dataclass(frozen=True)
        class Again(Pass):
            name: ClassVar[str] = "simplify"

            def run(self, graph: Graph) -> Graph:
                return graph

    assert PASSES["simplify"] is Simplify


@pytest.mark.parametrize("described", describe_passes(), ids=lambda d: d.name)
def test_every_pass_is_described_from_its_docstring(described: object) -> None:
    from graphc.passes.catalog import PassDescription

    assert isinstance(described, PassDescription)
    assert described.summary.endswith((".", ":")) or "." in described.summary
    assert "->" in described.example
    data = described.to_dict()
    assert data["name"] == described.name
    assert all(set(option) == {"name", "type", "default"} for option in data["options"])


def test_descriptions_tell_options_with_defaults() -> None:
    (svd,) = [d for d in describe_passes() if d.name == "svd"]
    assert svd.options == (
        ("rank", "int", 0), ("energy", "float", 0.0), ("error", "float", 0.0), ("budget", "int", 0),
        ("layer", "str", ""),
    )  # fmt: skip
