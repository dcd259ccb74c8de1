"""A pass that is wrong on purpose is found: GRAPHC_CHECK names it, halving finds the step, and what
is left of the network is a graph of a few nodes, written as a test that fails.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.base.errors import GraphcError, InternalError
from graphc.base.settings import BISECT, CHECK
from graphc.cli import main
from graphc.ir.graph import Graph
from graphc.ir.node import Node, make, remake
from graphc.ir.rewrite import FunctionRule, Rewrite, rebuild
from graphc.ops.elementwise import add
from graphc.passes import simplify
from graphc.passes.base import PASSES, Pass, Pipeline
from graphc.passes.decompose import Decompose
from graphc.passes.pipelines import BACKEND
from graphc.passes.simplify import Simplify
from graphc.testing import BackendTrial, PassesTrial, bisect, reduce, reduce_failure
from graphc_numpy import Interpreter, NumpyBackend

X = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)
BROKEN = '''
from dataclasses import dataclass

from graphc.ir.rewrite import rebuild
from graphc.ir.node import remake
from graphc.passes.base import Pass


@dataclass(frozen=True)
class SwapTransposes(Pass):
    """Forgets what a transpose of square matrices is for."""

    name = "swap_transposes"

    def run(self, graph):
        return rebuild(graph, swapped)


def swapped(node, inputs):
    square = node.op.name == "transpose" and node.tensor.shape == node.inputs[0].tensor.shape
    return remake(node, inputs, {"axes": (0, 1)} if square else None)
'''


def swapped(node: Node, inputs: tuple[Node, ...]) -> Node:
    square = node.op.name == "transpose" and node.tensor.shape == node.inputs[0].tensor.shape
    return remake(node, inputs, {"axes": (0, 1)} if square else None)


@dataclass(frozen=True)
class SwapTransposes(Pass):
    """Forgets what a transpose of square matrices is for."""

    def run(self, graph: Graph) -> Graph:
        return rebuild(graph, swapped)


SwapTransposes.name = "swap_transposes"  # too late to be registered for good


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """The pipeline of small batches with the broken pass in it, as every backend runs it."""
    monkeypatch.setitem(PASSES, "swap_transposes", SwapTransposes)
    steps = list(BACKEND["small"].passes)
    steps.insert(2, SwapTransposes())
    broken = Pipeline(tuple(steps))
    monkeypatch.setitem(BACKEND, "small", broken)
    yield broken


def network() -> nn.Module:
    layers = [nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Dense(16), nn.Tanh(), nn.Dense(16)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Dense(10))


def test_the_setting_names_the_pass(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECK.variable, "1")
    with pytest.raises(InternalError, match="pass swap_transposes changed output 0"):
        gc.Model(network(), "f32[N,1,8,8]").predict(X)


def test_halving_finds_the_pass(pipeline: Pipeline) -> None:
    found = bisect(gc.trace(network(), "f32[N,1,8,8]"), pipeline)
    assert found.step == "pass swap_transposes"
    assert 1 <= found.number < found.of
    assert "transpose" in found.before.diff(found.after)
    assert str(found).startswith(f"step {found.number} of {found.of}, the pass swap_transposes")


def test_the_setting_counts_the_same_steps(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model = gc.Model(network(), "f32[N,1,8,8]", backend="numpy")
    right = model.predict(X)
    number = bisect(model.graphs["forward"], pipeline).number
    for limit, fine in ((0, True), (number - 1, True), (number, False)):
        monkeypatch.setenv(BISECT.variable, str(limit))
        monkeypatch.setattr("graphc.passes.limit._of_the_process", {})
        run = gc.compile(gc.trace(network(), "f32[N,1,8,8]"))
        answer = run(X, **model.params)
        assert np.allclose(answer, right, atol=1e-5) is fine, limit
    assert "the last applied is the pass swap_transposes" in capfd.readouterr().err


def test_it_is_reduced_to_the_transpose_and_written_as_a_test(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    model = gc.Model(network(), "f32[N,1,8,8]", loss="cross_entropy", optimizer=gc.optim.SGD(0.1))
    whole, trial = model.graphs["train"], PassesTrial(pipeline)
    found = reduce_failure(whole, trial)
    assert len(whole) > 80 and len(found.graph) <= 5
    assert [node.op.name for node in found.graph.nodes] == ["input", "transpose"]
    assert found.failure.where == "pass swap_transposes"
    assert "changed output 0" in found.failure.message

    file = found.write_test(tmp_path / "test_reduced.py")
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "conftest.py").write_text("import broken\n")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "1 failed" in ended.stdout and "pass swap_transposes changed" in ended.stdout
    (tmp_path / "broken.py").write_text(BROKEN.replace('"axes": (0, 1)', '"axes": (1, 0)'))
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "1 passed" in ended.stdout, ended.stdout


def test_the_commands_do_the_same(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.txt"
    file.write_text(str(gc.trace(network(), "f32[N,1,8,8]", name="net")))
    passes = ["-p", "decompose,simplify,swap_transposes,fuse"]
    assert main(["bisect", str(file), *passes]) == 1
    assert "the pass swap_transposes, changes the answer" in capsys.readouterr().out
    test = tmp_path / "test_it.py"
    assert main(["reduce", str(file), *passes, "-o", str(test)]) == 1
    out = capsys.readouterr().out
    assert "became 2; the test is in" in out
    assert 'Pipeline.parse("swap_transposes")' in test.read_text()


def test_a_wrong_rule_is_named_inside_of_its_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = FunctionRule("tanh-is-odd", ("tanh",), lambda node: add(node.inputs[0], 0.0), ())
    rules = simplify.rules

    def with_a_wrong_one(fastmath: bool = False) -> tuple[Rewrite, ...]:
        return (*rules(fastmath), wrong)

    monkeypatch.setattr(simplify, "rules", with_a_wrong_one)
    graph = gc.trace(network(), "f32[N,1,8,8]")
    found = bisect(graph, Pipeline((Decompose(), Simplify())))
    assert found.step == "rule tanh-is-odd of simplify"


def test_what_is_not_wrong_cannot_be_halved() -> None:
    graph = gc.trace(lambda x: x * 1.0, "f32[N]")
    with pytest.raises(GraphcError, match="right after all 1 steps of simplify"):
        bisect(graph, Pipeline((Simplify(),)))
    with pytest.raises(GraphcError, match="wrong before the first step"):
        bisect(graph, Pipeline((Simplify(),)), lambda made: True)


def test_reducing_keeps_what_the_failure_needs() -> None:
    def fails(graph: Graph) -> bool:
        return any(n.op.name == "tanh" and n.inputs[0].op.name == "add" for n in graph.nodes)

    small = reduce(gc.trace(network(), "f32[N,1,8,8]"), fails)
    assert [n.op.name for n in small.nodes] == ["input", "add", "tanh"]
    assert fails(small)
    with pytest.raises(GraphcError, match="does not fail"):
        reduce(small, lambda graph: False)


def test_a_wrong_kernel_is_reduced_to_its_op(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Wrong(Interpreter):
        def run(self, inputs: Any, n: int, token: object = None) -> list[Any]:
            outputs = super().run(inputs, n, token)
            inexact = any(node.op.name == "tanh" for node in self.graph.nodes)
            return [output * 1.01 if inexact else output for output in outputs]

    class WrongBackend(NumpyBackend):
        name = "wrong"

        def prepare(self, graph: Graph, threads: int | None, precision: str = "f32") -> Interpreter:
            return Wrong(graph)

    backends = {"wrong": WrongBackend(), "numpy": NumpyBackend()}
    monkeypatch.setattr("graphc.compiler.load_backend", backends.__getitem__)
    graph = gc.trace(network(), "f32[N,1,8,8]")
    assert BackendTrial("numpy").failure(graph) is None
    found = reduce_failure(graph, BackendTrial("wrong"))
    assert [node.op.name for node in found.graph.nodes] == ["input", "tanh"]
    assert found.failure.kind == "wrong answer"
    for backend, right in (("wrong", False), ("numpy", True)):
        text = found.as_test().replace('"wrong"', f'"{backend}"')
        namespace: dict[str, Any] = {}
        exec(compile(text, "test_reduced.py", "exec"), namespace)
        with contextlib.nullcontext() if right else pytest.raises(GraphcError, match="are wrong"):
            namespace["test_it_is_right"]()


def test_donations_and_several_results_are_reduced_too() -> None:
    optimizer = gc.optim.SGD(0.1, momentum=0.9)
    net = nn.Sequential(nn.Dense(4), nn.Tanh(), nn.Dense(3))
    graph = gc.Model(net, "f32[N,5]", loss="cross_entropy", optimizer=optimizer).graphs["train"]

    def fails(graph: Graph) -> bool:
        return bool(graph.donations) and any(n.op.name == "sgd_update" for n in graph.nodes)

    small = reduce(graph, fails)
    assert sum(bool(n.inputs) for n in small.nodes) == 2, str(small)  # the update, and its result
    assert len(small.outputs) == len(small.donations) == 1
    assert make("exp", (small.outputs[0],))
