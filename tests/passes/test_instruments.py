"""Instruments: each says what it should, and a broken pass is named by whoever checks."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import graphc as gc
from graphc.base.errors import GraphcError, InternalError
from graphc.ir.graph import Graph
from graphc.ir.node import Node, make
from graphc.ir.rewrite import rebuild
from graphc.ops.create import full
from graphc.ops.elementwise import add, mul
from graphc.passes.base import PASSES, Pass, Pipeline
from graphc.passes.compress import CompressDense
from graphc.passes.decompose import Decompose
from graphc.passes.instruments import Check, Dump, Print, Time, Verify, from_settings
from graphc.passes.limit import Limit
from graphc.passes.simplify import Simplify

GRAPH = gc.trace(lambda x: (x * 1.0 + (x - 2.0)).sum(), "f32[N,3]", name="net")


def breaking(name: str, change: Callable[[Graph], Graph]) -> Pass:
    """A pass that is wrong on purpose, named too late to be registered."""

    @dataclass(frozen=True)
    class Broken(Pass):
        def run(self, graph: Graph) -> Graph:
            return change(graph)

    Broken.name = name
    return Broken()


def off_by_a_bit(graph: Graph) -> Graph:
    def wrong(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op.name == "full":
            return full(node.attrs["value"] + 0.001, shape=node.tensor.shape)
        return make(node.op, inputs, node.attrs)

    return rebuild(graph, wrong)


def with_other_output(change: Callable[[Node], Node]) -> Callable[[Graph], Graph]:
    return lambda graph: Graph(graph.name, graph.inputs, [change(graph.outputs[0])])


def test_check_names_the_pass_that_changed_an_answer_and_the_difference() -> None:
    pipeline = Pipeline((Simplify(), breaking("off_by_a_bit", off_by_a_bit), Simplify()))
    with pytest.raises(InternalError, match="pass off_by_a_bit changed output 0") as caught:
        pipeline(GRAPH, [Check()])
    assert "the largest difference is 0.009 at []" in str(caught.value)
    assert "GRAPHC_DUMP" in str(caught.value)


def test_check_lets_right_passes_through() -> None:
    graph = Pipeline((Decompose(), Simplify()))(GRAPH, [Check(), Verify()])
    assert graph is Simplify()(GRAPH)


WRONG = {
    "a changed infinity": (
        lambda y: add(y, float("inf")), "the largest difference is inf"),
    "a nan": (lambda y: mul(y, float("nan")), "became nan"),
    "a changed shape": (
        lambda y: make("reshape", (y,), {"shape": (1,)}), r"the shape \[\] became \[1\]"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_check_sees(change: Callable[[Node], Node], message: str) -> None:
    step = breaking("broken", with_other_output(change))
    with pytest.raises(InternalError, match=message):
        Pipeline((step,))(GRAPH, [Check()])


def test_check_sees_a_lost_output_and_an_invented_input() -> None:
    two = Graph("two", GRAPH.inputs, [GRAPH.outputs[0], GRAPH.inputs[0]])
    lose = breaking("lose", lambda g: Graph(g.name, g.inputs, g.outputs[:1]))
    with pytest.raises(InternalError, match="pass lose made 1 outputs of 2"):
        Pipeline((lose,))(two, [Check()])
    other = gc.trace(lambda x, y: (x + y).sum(), "f32[N,3]", "f32[N,3]")
    invent = breaking("invent", lambda g: other)
    with pytest.raises(InternalError, match="pass invent reads 'x0', no input of net"):
        Pipeline((invent,))(GRAPH, [Check()])


def test_check_is_not_blinded_by_logarithms_of_negative_numbers() -> None:
    graph = gc.parse(
        """graph g(%x: f32[1]) {
          %y = log(%x) : f32[1]
          %c = full() {dtype=f32, shape=(1,), value=1.0} : f32[1]
          %z = add(%y, %c) : f32[1]
          return %z
        }"""
    )
    for seed in range(6):
        with pytest.raises(InternalError, match="off_by_a_bit"):
            Pipeline((breaking("off_by_a_bit", off_by_a_bit),))(graph, [Check(seed=seed)])


def test_check_does_not_mind_another_order_of_a_sum() -> None:
    graph = gc.trace(lambda x: x.sum() * 1e-3, "f32[N,1000]")
    swap = breaking("swap", lambda g: gc.trace(lambda x: (x * 1e-3).sum(), "f32[N,1000]"))
    Pipeline((swap,))(graph, [Check()])


def test_check_skips_passes_that_declare_to_change_values() -> None:
    graph = gc.trace(lambda x, w: x @ w.T, "f32[N,20]", "f32[30,20]")
    dense = gc.parse(str(graph).replace("%x1: f32", "%x1: parameter f32"))
    for kind in (CompressDense, PASSES["differentiate"], PASSES["svd"]):
        assert kind.changes_values
    assert not Simplify.changes_values
    compressed = Pipeline((CompressDense(rank=3),))(dense, [Check(), Verify()])
    assert len(compressed.inputs) == 3


def test_check_evaluates_random_numbers_and_class_numbers() -> None:
    graph = gc.parse(
        """graph g(%x: f32[N,5], %labels: i32[N], %key: state i32[]) {
          %d = dropout(%x, %key) {rate=0.5, stream=0} : f32[N,5]
          %loss = softmax_cross_entropy(%d, %labels) : f32[]
          return %loss
        }"""
    )
    assert Decompose()(graph) is Pipeline((Decompose(),))(graph, [Check()])


def test_verify_names_the_pass_that_changed_a_type() -> None:
    step = breaking("widen", with_other_output(lambda y: make("reshape", (y,), {"shape": (1,)})))
    with pytest.raises(InternalError, match=r"pass widen made f32\[1\] of the outputs f32\[\]"):
        Pipeline((step,))(GRAPH, [Verify()])


def test_verify_names_the_pass_that_made_an_ill_typed_node() -> None:
    def forge(graph: Graph) -> Graph:
        bad = make("exp", (GRAPH.outputs[0],))
        object.__setattr__(
            bad, "type", gc.parse("graph g(%x: f32[7]) { return %x }").inputs[0].type
        )
        return Graph("forged", graph.inputs, [bad])

    with pytest.raises(InternalError, match=r"pass forge: exp has the type f32\[7\]"):
        Pipeline((breaking("forge", forge),))(GRAPH, [Verify()])


def test_print_shows_the_graph_after_a_pass_that_changed_it() -> None:
    stream = io.StringIO()
    Pipeline((Simplify(), Simplify()))(GRAPH, [Print(stream)])
    text = stream.getvalue()
    assert text.count("graph net(") == 1
    assert str(Simplify()(GRAPH)) in text
    assert text.endswith("-- simplify on net: unchanged\n")


def test_dump_writes_numbered_files_with_diffs(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    dump = Dump(str(folder))
    Pipeline((Simplify(), Decompose()))(GRAPH, [dump])
    Pipeline((Simplify(),))(gc.trace(lambda x: x + 1.0, "f32[N]", name="a/b"), [dump])
    assert sorted(f.name for f in folder.iterdir()) == [
        "000_net_input.txt",
        "001_net_simplify.diff",
        "001_net_simplify.txt",
        "002_net_decompose.txt",
        "003_a_b_input.txt",
        "004_a_b_simplify.txt",
        "report.html",
    ]
    assert gc.parse((folder / "000_net_input.txt").read_text()) is GRAPH
    assert gc.parse((folder / "001_net_simplify.txt").read_text()) is Simplify()(GRAPH)
    assert "-  %mul = mul(%x, %full)" in (folder / "001_net_simplify.diff").read_text()


def test_dump_into_a_file_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(GraphcError, match="cannot dump graphs to") as caught:
        Pipeline((Simplify(),))(GRAPH, [Dump(str(tmp_path / "taken"))])
    assert "GRAPHC_DUMP" in str(caught.value)


def test_time_prints_and_keeps_one_row_a_pass() -> None:
    stream = io.StringIO()
    watch = Time(stream)
    Pipeline((Simplify(), Decompose()))(GRAPH, [watch])
    assert [row[0] for row in watch.rows] == ["simplify", "decompose"]
    assert all(row[4] >= 0 for row in watch.rows)
    assert watch.rows[0][2] > watch.rows[0][3]
    assert "ms  simplify on net" in stream.getvalue()


def test_settings_choose_the_instruments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("BISECT", "PRINT", "DUMP", "TIME", "VERIFY", "CHECK")
    for name in names:
        monkeypatch.delenv(f"GRAPHC_{name}", raising=False)
    assert from_settings() == ()
    for name in names:
        monkeypatch.setenv(f"GRAPHC_{name}", str(tmp_path) if name == "DUMP" else "1")
    found = from_settings()
    assert [type(i) for i in found] == [Limit, Print, Dump, Time, Verify, Check]
    assert isinstance(found[2], Dump) and found[2].folder == str(tmp_path)


def test_what_instruments_say_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Pipeline((Simplify(),))(GRAPH, [Print(), Time()])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "simplify" in captured.err


def test_passes_made_for_tests_are_not_registered() -> None:
    breaking("only_here", lambda graph: graph)
    assert "only_here" not in PASSES
