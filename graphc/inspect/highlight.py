"""Graphs and diffs in colours: as rich text for terminals, as HTML for pages.

It reads the text form's words, not its grammar, so it colours a part of a text as well. ``str`` of
a graph never holds a colour.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from graphc.ir.types import DType

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {
    "comment": "bright_black",
    "name": "cyan",
    "type": "green",
    "string": "yellow",
    "keyword": "bold magenta",
    "op": "bold",
    "attribute": "bright_black",
    "added": "green",
    "removed": "red",
    "place": "bold cyan",
}
_WORD = re.compile(
    rf"""(?P<comment>\#[^\n]*)
      |(?P<name>%(?:\w[\w.\-]*|"(?:[^"\\\n]|\\.)*"))
      |(?P<type>\b(?:{"|".join(DType.__members__)})\[[^\]]*\](?:\{{\w+\}})?)
      |(?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      |(?P<keyword>\b(?:graph|return|into|parameter|state)\b(?!\())
      |(?P<op>\b\w+(?=\())
      |(?P<attribute>\b\w+(?==))""",
    re.VERBOSE,
)
_CHANGES = {"+": "added", "-": "removed", "@": "place"}


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """(kind, piece) for every piece of the text of a graph or a diff, in order: together they are
    `text`. The kinds are those of `STYLES`, and "" for what has no colour.
    """
    return _lines(text) if text.startswith("--- ") else _words(text)


def highlighted(text: str) -> Text:
    """The text of a graph or a diff, coloured for a terminal."""
    from rich.text import Text

    return Text.assemble(*((piece, STYLES.get(kind, "")) for kind, piece in pieces(text)))


def highlighted_html(text: str) -> str:
    """The text of a graph or a diff as a `<pre>` whose pieces have the classes ``graphc-KIND``."""
    spans = (
        f'<span class="graphc-{kind}">{html.escape(piece)}</span>' if kind else html.escape(piece)
        for kind, piece in pieces(text)
    )
    return f'<pre class="graphc-text" style="overflow-x: auto">{"".join(spans)}</pre>'


def _words(text: str) -> Iterator[tuple[str, str]]:
    end = 0
    for match in _WORD.finditer(text):
        yield "", text[end : match.start()]
        yield str(match.lastgroup), match[0]
        end = match.end()
    yield "", text[end:]


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines(keepends=True):
        yield _CHANGES.get(line[:1], ""), line
