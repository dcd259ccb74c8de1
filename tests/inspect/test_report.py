"""The report: one file, nothing from outside, in it what passes, kernels and memory really are."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.cli import WRONG, main
from graphc.inspect.report import PassReport, Report, report
from graphc.inspect.report.page import SCRIPTS, page, unpacked
from graphc.passes.base import Pipeline
from graphc.passes.instruments import Dump, Record, from_settings
from graphc.passes.pipelines import LARGE
from graphc.passes.plan_memory import schedule
from graphc.runtime.backend import load_backend
from graphc.testing.draw import random_inputs
from graphc.train.graphs import numbered

BATCH = 3
MOST_BYTES = 5_000_000
NET = nn.Sequential(nn.Conv(4, 3), nn.Tanh(), nn.MaxPool(2), nn.Flatten(), nn.Dense(3))
MODEL = gc.Model(
    NET, "f32[N,1,8,8]", loss="cross_entropy", optimizer=gc.optim.SGD(0.1), backend="numpy"
)
STEP = MODEL.graphs["train"]


class Outline(HTMLParser):
    """The elements of a page, indented, with their ids."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = dict(attrs).get("id")
        self.lines.append("  " * len(self.open) + tag + (f" {name}" if name else ""))
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def made() -> Report:
    executable = gc.compile(STEP, threads=1)
    executable(**random_inputs(STEP, BATCH, np.random.default_rng(0)))
    return report(executable, BATCH, title="a small step <&>")


@pytest.fixture(scope="module")
def run(made: Report) -> Any:
    """The one pipeline of the report, as the browser reads it."""
    return data_of(made.html())["runs"][0]


def data_of(text: str) -> Any:
    found = re.search(r'<script type="application/octet-stream" id="data">([^<]*)</script>', text)
    assert found is not None
    return unpacked(found[1])


def test_the_page_has_the_elements_that_its_script_fills(
    made: Report, golden: Callable[[str, object], None]
) -> None:
    outline = Outline()
    outline.feed(made.html())
    assert not outline.open
    golden("report_outline", "\n".join(outline.lines))
    script = page("", {})
    asked = set(re.findall(r'\$\("#(\w+)"\)', script))
    assert asked <= set(re.findall(r'id="(\w+)"', script))


def test_a_page_needs_nothing_from_elsewhere(made: Report) -> None:
    text = made.html()
    assert set(re.findall(r"\w+://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    for door in ("src=", "<link", "@import", "url(", "fetch(", "XMLHttpRequest", "import("):
        assert door not in text
    assert "<title>a small step &lt;&amp;&gt;</title>" in text
    assert "{{" not in re.sub(r"<script>.*", "", text, flags=re.DOTALL)


def test_every_pass_is_there_in_order_with_what_it_did(run: Any) -> None:
    recorded = Record()
    pipeline = gc.compile(STEP, threads=1).runner.pipeline(BATCH)
    pipeline(STEP, [recorded])
    assert [p["name"] for p in run["passes"]] == [str(step) for step in pipeline.passes]
    for shown, real in zip(run["passes"], recorded.runs, strict=True):
        before, after = run["graphs"][shown["before"]], run["graphs"][shown["after"]]
        assert len(before["nodes"]) == len(real.before.nodes)
        assert len(after["nodes"]) == len(real.after.nodes)
        assert (shown["diff"] == "") == (real.after is real.before)
        assert dict(shown["rules"]) == dict(real.rules)
        kept = {n for n, *_ in before["nodes"]} & {n for n, *_ in after["nodes"]}
        assert len(kept) == len(before["nodes"]) - len(shown["removed"])
        assert len(kept) == len(after["nodes"]) - len(shown["added"])


def test_a_removed_node_and_the_rule_that_did_it_are_named() -> None:
    graph = gc.parse("""graph net(%x: f32[N]) {
      %once = neg(%x) : f32[N]
      %twice = neg(%once) : f32[N]
      %y = exp(%twice) : f32[N]
      return %y
    }""")
    recorded = Record()
    Pipeline.parse("simplify")(graph, [recorded])
    found = PassReport()
    found.add(recorded.runs)
    (shown,) = found.runs[0]["passes"]
    names = [name for name, *_ in found.runs[0]["graphs"][0]["nodes"]]
    assert [names[k] for k in shown["removed"]] == ["neg", "neg_1"]
    assert dict(shown["rules"]) == {"neg-neg": 1}
    assert "-  %neg = neg(%x) : f32[N]" in shown["diff"]


def test_a_drawing_belongs_to_the_nodes_listed_beside_it(run: Any) -> None:
    for graph in run["graphs"]:
        root = ElementTree.fromstring(graph["svg"])
        places = [g.get("data-n") for g in root.iter() if g.get("data-n")]
        assert len(set(places)) == len(places)
        for group in (g for g in root.iter() if g.get("data-n")):
            name, text, _ = graph["nodes"][int(str(group.get("data-n")))]
            title = next(t.text for t in group if t.get("class", "").startswith("name"))
            assert title is not None and name.startswith(title.rstrip("\u2026"))
            assert name in text


def test_a_layer_is_paired_with_its_gradient(run: Any) -> None:
    rows = {row["forward"][0]: row for row in run["gradients"]["rows"]}
    assert [name for name, *_ in rows["conv2d"]["backward"]] == ["conv2d_weight_grad"]
    assert rows["conv2d"]["layer"] == "0"
    assert rows["conv2d"]["flops"] == [2 * 4 * 36 * 9, 2 * 4 * 36 * 9]
    assert any("tanh" in row["keeps"] for row in rows.values())
    assert any(name.startswith("where") for name, *_ in run["gradients"]["optimizer"])


def test_kernels_come_with_loops_code_and_times(run: Any) -> None:
    backend = load_backend("llvm")
    lowered = gc.compile(STEP, threads=1).runner.pipeline(BATCH)(STEP)
    steps = schedule(lowered).steps
    sources = backend.sources(lowered)
    assert run["forms"] == list(backend.forms)
    assert len(run["kernels"]) == len(steps) == len(run["code_of"])
    for kernel, step, code, source in zip(
        run["kernels"], steps, run["code_of"], sources, strict=True
    ):
        assert kernel["phase"] == step.phase
        assert kernel["seconds"] > 0 and kernel["share"] > 0
        assert len(kernel["spans"]) == 1
        assert run["codes"][code] == dict(source.texts)
    assert all(code["loops"].startswith("kernel ") for code in run["codes"])


def test_the_memory_chart_is_the_plan(run: Any) -> None:
    memory = run["memory"]
    for k, block in enumerate(memory["blocks"]):
        assert 0 <= block["first"] <= block["last"] < memory["phases"]
        assert block["offset"] + block["size"] <= memory["arena"]
        for other in memory["blocks"][:k]:
            apart = block["last"] < other["first"] or other["last"] < block["first"]
            above = block["offset"] >= other["offset"] + other["size"]
            assert apart or above or other["offset"] >= block["offset"] + block["size"]


def test_a_backend_that_interprets_has_a_graph_and_no_kernels() -> None:
    executable = gc.compile(STEP, backend="numpy")
    found = report(executable, BATCH, "numpy").runs[0]
    assert len(found["graphs"]) == 1 and not found["passes"]
    assert "kernels" not in found


def test_a_deep_network_makes_a_page_below_five_megabytes() -> None:
    graph = gc.trace(gc.zoo.resnet50(), "f32[N,3,224,224]")
    recorded = Record()
    LARGE(graph, [recorded])
    found = PassReport()
    found.add(recorded.runs)
    text = page("resnet50", {"runs": found.runs})
    assert len(text) < MOST_BYTES / 8  # passes are the smaller part: there are no kernels here
    assert len(data_of(text)["runs"][0]["graphs"][0]["nodes"]) == len(graph.nodes)


def test_a_dump_writes_one_page_of_all_pipelines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path / "dump"))
    for name in numbered("net", 2):
        graph = gc.trace(lambda x: x * 1.0 + 2.0, "f32[N]", name=name)
        Pipeline.parse("decompose,simplify")(graph, from_settings())
    files = sorted(file.name for file in (tmp_path / "dump").iterdir())
    assert files == [
        "000_net0_input.txt", "001_net0_decompose.txt",
        "002_net0_simplify.diff", "002_net0_simplify.txt",
        "003_net1_input.txt", "004_net1_decompose.txt",
        "005_net1_simplify.diff", "005_net1_simplify.txt",
        "report.html",
    ]  # fmt: skip
    found = data_of((tmp_path / "dump" / "report.html").read_text(encoding="utf-8"))
    assert [run["name"] for run in found["runs"]] == ["net0", "net1"]


def test_a_pipeline_that_fails_is_dumped_as_far_as_it_came(tmp_path: Path) -> None:
    class Fails(gc.passes.Pass):
        def run(self, graph: gc.Graph) -> gc.Graph:
            raise ValueError("on purpose")

    Fails.name = "fails"
    graph = gc.trace(lambda x: x * 1.0, "f32[N]")
    with pytest.raises(ValueError, match="on purpose"):
        Pipeline((*Pipeline.parse("simplify").passes, Fails()))(graph, [Dump(str(tmp_path))])
    found = data_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [p["name"] for p in found["runs"][0]["passes"]] == ["simplify"]


def test_the_command_line_writes_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mlp.html"
    assert main(["show", "mlp", "--train", "--html", str(file), "--batch-size", "2"]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    found = data_of(file.read_text(encoding="utf-8"))
    assert found["title"] == "mlp, training step"
    assert found["facts"]["batch"] == "2" and found["facts"]["backend"] == "llvm"
    assert main(["show", "mlp", "--html", str(file), "--batch-size", "0"]) == WRONG
    assert "--batch-size is 0" in capsys.readouterr().err


def test_scripts_are_in_the_page_in_their_order() -> None:
    text = page("", {})
    places = [text.index(f"tabs.{name} = ") for name in ("passes", "kernels", "memory")]
    assert places == sorted(places)
    assert SCRIPTS[0] == "core.js" and text.index('"use strict"') < places[0]
