"""What notebooks and rich show: well-formed HTML and SVG, of what it is asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import graphc as gc
from graphc.inspect import as_text
from graphc.inspect.curves import curves, ticks
from graphc.inspect.display import LARGEST_DRAWING
from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline
from graphc.train.history import Epoch, History

SVG = "{http://www.w3.org/2000/svg}"
NET = gc.nn.Sequential(gc.nn.Dense(8), gc.nn.ReLU(), gc.nn.Dense(3))


def model() -> gc.Model:
    return gc.Model(NET, "f32[N,4]", "cross_entropy", gc.optim.SGD(0.1), "numpy")


def history() -> History:
    losses = [(2.5, 2.0), (1.5, 1.25), (0.75, float("nan")), (0.5, 1.0)]
    return History(
        [
            Epoch(k + 1, training, 0.5 + 0.1 * k, validation, None, 0.25, 100)
            for k, (training, validation) in enumerate(losses)
        ],
        stopped_early=True,
        best_epoch=4,
    )


THINGS: dict[str, Callable[[], Any]] = {
    "graph": lambda: model().graphs["forward"],
    "training graph": lambda: model().graphs["train"],
    "model": model,
    "executable": lambda: model().executable("train"),
    "pipeline": lambda: Pipeline.parse("decompose,simplify,fuse"),
    "no pipeline": lambda: Pipeline(()),
    "history": history,
    "no history": History,
    "summary": lambda: model().summary(16),
    "failed summary": lambda: gc.inspect.summary(gc.nn.Conv(2, 9), "f32[N,1,8,8]"),
}
PICTURES = ("graph", "training graph", "history", "no history")


def elements(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{text}</div>")


@pytest.mark.parametrize("name", THINGS)
def test_html_is_well_formed(name: str) -> None:
    page = elements(THINGS[name]()._repr_html_())
    assert "".join(page.itertext()).strip()


@pytest.mark.parametrize("name", [n for n in THINGS if "summary" not in n])
def test_only_what_has_a_picture_has_svg(name: str) -> None:
    drawn = THINGS[name]()._repr_svg_()
    assert (drawn is not None) == (name in PICTURES)
    if drawn is not None:
        assert ElementTree.fromstring(drawn).tag == f"{SVG}svg"


@pytest.mark.parametrize("name", THINGS)
def test_rich_prints_it(name: str) -> None:
    assert as_text(THINGS[name]()).strip()


def test_a_graph_shows_its_drawing_and_its_text() -> None:
    graph = model().graphs["forward"]
    page = elements(graph._repr_html_())
    assert page.find(f".//{SVG}svg") is not None
    (text,) = page.iter("pre")
    assert "".join(text.itertext()) == str(graph)
    assert as_text(graph, width=1000) == str(graph)


def test_a_graph_too_large_to_read_as_a_drawing_shows_its_text() -> None:
    def deep(x: Any) -> Any:
        for _ in range(LARGEST_DRAWING):
            x = gc.nn.tanh(x)
        return x

    graph: Graph = gc.trace(deep, "f32[N]")
    page = elements(graph._repr_html_())
    assert page.find(f".//{SVG}svg") is None and graph._repr_svg_() is None
    (details,) = page.iter("details")
    assert details.get("open") == "open"


def test_a_model_shows_its_summary() -> None:
    page = elements(model()._repr_html_())
    cells = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert cells[0][:4] == ["layer", "ops", "output", "parameters"]
    assert [row[0] for row in cells[1:]] == ["0", "1", "2", "rest", "all"]
    assert [row[3] for row in cells[1:]] == ["40", "0", "27", "", "67"]


def test_an_executable_shows_what_is_fed_and_what_comes_out() -> None:
    text = as_text(model().executable("train"))
    assert "overwrites %0.weight" in text and "i32[N]" in text and "output" in text


def test_a_pipeline_shows_what_each_pass_does() -> None:
    text = as_text(Pipeline.parse("simplify,svd{rank=8}"))
    assert "svd{rank=8}" in text and "Applies every rule until none fires" in text


def test_the_curves_of_a_history() -> None:
    drawn = ElementTree.fromstring(history()._repr_svg_() or "")
    lines = [line.get("points", "").split() for line in drawn.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [4, 2, 1, 4]  # a gap where the loss was nan
    heights = [float(point.partition(",")[2]) for point in lines[0]]
    assert heights == sorted(heights), "a loss that falls goes down, where y grows"
    titles = [title.text for title in drawn.iter(f"{SVG}title")]
    assert titles[:2] == ["training, epoch 1: 2.5", "training, epoch 2: 1.5"]


def test_the_structure_of_the_curves(golden: Callable[[str, object], None]) -> None:
    def outline(element: ElementTree.Element, indent: str = "") -> str:
        tag = element.tag.removeprefix(SVG)
        inner = "".join(outline(child, indent + "  ") for child in element)
        return f"{indent}{tag} {element.text or ''}".rstrip() + f"\n{inner}"

    golden("curves", outline(ElementTree.fromstring(history()._repr_svg_() or "")))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (0.5, 2.5, [0.5, 1.0, 1.5, 2.0, 2.5]),
        (0.0, 0.004, [0.0, 0.001, 0.002, 0.003, 0.004]),
        (-3.0, 4.0, [-4.0, -2.0, 0.0, 2.0, 4.0]),
        (2.0, 2.0, [1.0, 1.5, 2.0, 2.5, 3.0]),
        (0.0, 0.0, [-0.5, 0.0, 0.5]),
    ],
)
def test_ticks_are_round_and_span_the_values(
    low: float, high: float, expected: list[float]
) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_names_and_titles_are_escaped() -> None:
    drawn = ElementTree.fromstring(curves({"a < b": {"x & y": [1.0, 2.0]}}))
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert "a < b" in texts and "x & y" in texts


def test_nothing_that_draws_is_loaded_before_something_is_shown() -> None:
    code = "import sys, graphc; sys.exit('graphc.inspect.display' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_is_fed_runs_after_being_shown() -> None:
    run = model().executable()
    run._repr_html_()
    params = {name: np.zeros_like(array) for name, array in model().params.items()}
    assert run(np.ones((2, 4), np.float32), **params).shape == (2, 3)
