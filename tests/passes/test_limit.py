"""Steps held back: the first ones are the same whatever the limit, all of them are the whole."""

from __future__ import annotations

import io

import pytest

import graphc as gc
from graphc.base.settings import BISECT
from graphc.ir.text import verify
from graphc.passes import limit as limits
from graphc.passes.base import Pipeline
from graphc.passes.decompose import Decompose
from graphc.passes.instruments import Check, from_settings
from graphc.passes.limit import Limit, Steps
from graphc.passes.pipelines import BACKEND
from graphc.passes.simplify import Simplify

GRAPH = gc.Model(
    gc.zoo.lenet5(), "f32[N,1,32,32]", loss="cross_entropy", optimizer=gc.optim.SGD(0.1)
).graphs["train"]


def applied(limit: float, pipeline: Pipeline) -> list[str]:
    steps = Steps(limit)
    verify(pipeline(GRAPH, [Limit(steps)]))
    return steps.applied


@pytest.mark.parametrize("name", BACKEND)
def test_every_prefix_of_the_steps_is_a_right_graph(name: str) -> None:
    pipeline = BACKEND[name]
    whole = applied(float("inf"), pipeline)
    assert "pass decompose" in whole and "pass fuse" in whole
    assert any(step.startswith("rule ") and step.endswith(" of simplify") for step in whole)
    assert not any(step == "pass simplify" for step in whole)  # its rules are counted instead
    for limit in sorted({0, 1, 2, len(whole) // 2, len(whole) - 1, len(whole)}):
        assert applied(limit, pipeline) == whole[:limit]


def test_all_steps_are_the_whole_pipeline_and_none_is_nothing() -> None:
    pipeline = BACKEND["large"]
    assert pipeline(GRAPH, [Limit(Steps())]) is pipeline(GRAPH)
    assert pipeline(GRAPH, [Limit(Steps(0))]) is GRAPH


def test_code_can_be_generated_whatever_is_held_back() -> None:
    graph = gc.trace(gc.zoo.lenet5(), "f32[N,1,32,32]")
    held = BACKEND["large"](graph, [Limit(Steps(0, required=True))])
    assert held is not graph and all(node.op.name != "conv2d_bias" for node in held.nodes)
    assert held is BACKEND["large"](Decompose()(graph), [Limit(Steps(0, required=True))])


def test_a_limit_keeps_the_answer_at_every_step() -> None:
    graph = gc.trace(gc.nn.Sequential(gc.nn.Dense(4), gc.nn.Softmax()), "f32[N,3]")
    for limit in range(len(applied(float("inf"), BACKEND["small"]))):
        Pipeline((Decompose(), Simplify()))(graph, [Limit(Steps(limit)), Check()])


def test_it_says_which_step_was_the_last() -> None:
    graph = gc.trace(lambda x: (x * 1.0 + 2.0) / 2.0, "f32[N]", name="net")
    stream = io.StringIO()
    Pipeline((Decompose(), Simplify()))(graph, [Limit(Steps(1), stream)])
    assert stream.getvalue().splitlines() == [
        "-- decompose on net: 0 steps",
        "-- simplify on net: 1 steps; the last applied is the rule mul-one of simplify",
    ]


def test_the_setting_counts_over_the_whole_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_of_the_process", {})
    monkeypatch.setenv(BISECT.variable, "3")
    first, second = from_settings(), from_settings()
    assert isinstance(first[0], Limit) and isinstance(second[0], Limit)
    assert first[0].steps is second[0].steps and first[0].steps.limit == 3
    Pipeline((Simplify(),))(gc.trace(lambda x: x * 1.0, "f32[N]"), second)
    assert len(first[0].steps.applied) == 1
