"""Colours: the same text in pieces, on terminals only, and not where NO_COLOR is set."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest

import graphc as gc
from graphc.inspect.highlight import STYLES, highlighted, highlighted_html, pieces
from graphc.passes.base import Pipeline
from graphc.testing import random_graph

TEXT = """graph net(%x: f32[N,3], %"a # b": parameter f32[3]) {
  %sum = sum(%x) {axes=(1,), keepdims=False} : f32[N]  # net.py:3, gradient of %mul
  return %sum
}"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def shown(thing: object, stream: io.StringIO) -> str:
    gc.inspect.show(thing, stream=stream)
    return stream.getvalue()


def test_every_word_has_its_kind() -> None:
    found = [(kind, piece) for kind, piece in pieces(TEXT) if kind]
    assert found == [
        ("keyword", "graph"), ("op", "net"), ("name", "%x"), ("type", "f32[N,3]"),
        ("name", '%"a # b"'), ("keyword", "parameter"), ("type", "f32[3]"), ("name", "%sum"),
        ("op", "sum"), ("name", "%x"), ("attribute", "axes"), ("attribute", "keepdims"),
        ("type", "f32[N]"), ("comment", "# net.py:3, gradient of %mul"), ("keyword", "return"),
        ("name", "%sum"),
    ]  # fmt: skip


def test_a_diff_is_coloured_by_lines() -> None:
    before, after = gc.trace(lambda x: x * 2.0, "f32[N]"), gc.trace(lambda x: x * 3.0, "f32[N]")
    kinds = {piece[0]: kind for kind, piece in pieces(before.diff(after))}
    assert kinds == {"-": "removed", "+": "added", "@": "place", " ": ""}


@pytest.mark.parametrize("seed", range(20))
def test_the_pieces_are_the_text(seed: int) -> None:
    graph = random_graph(np.random.default_rng(seed))
    fused = Pipeline.parse("decompose,simplify,fuse")(graph)
    for text in (str(graph), str(fused), graph.diff(fused)):
        found = list(pieces(text))
        assert "".join(piece for _, piece in found) == text
        assert {kind for kind, _ in found} <= {"", *STYLES}
        assert highlighted(text).plain == text
        page = ElementTree.fromstring(highlighted_html(text))
        assert "".join(page.itertext()) == text


def test_a_terminal_has_colours_and_a_file_has_the_text() -> None:
    graph = gc.trace(lambda x: x * 2.0, "f32[N,84]")
    assert "\x1b" not in str(graph)
    assert shown(graph, io.StringIO()) == f"{graph}\n"
    coloured = shown(graph, Terminal())
    assert "\x1b[36m%x" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == f"{graph}\n"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    graph = gc.trace(lambda x: x * 2.0, "f32[N,85]")
    printed = shown(graph, Terminal())
    assert not re.search(r"\x1b\[(?:\d+;)*[349]\d", printed)
    assert re.sub(r"\x1b\[[\d;]*m", "", printed) == f"{graph}\n"


def test_lines_are_never_broken() -> None:
    graph = gc.trace(gc.zoo.lenet5(), "f32[N,1,32,32]")
    for stream in (io.StringIO(), Terminal()):
        assert shown(graph, stream).count("\n") == str(graph).count("\n") + 1
