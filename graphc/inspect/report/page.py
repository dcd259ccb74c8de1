"""The page: one HTML file that needs nothing but a browser.

Style, script and data are inside it; the data are JSON, compressed, which the browser unpacks. The
page's own sources lie beside this file.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from graphc.inspect.theme import DARK, LIGHT, SHAPES

SOURCES = "graphc.inspect.report"
COLOURS = f":root {{{LIGHT}}}\n:root[data-theme=dark] {{{DARK}}}"
SCRIPTS = ("core.js", "drawings.js", "passes.js", "kernels.js", "charts.js")  # in this order


def page(title: str, data: Mapping[str, Any]) -> str:
    """The whole HTML text."""
    parts = {
        "title": escape(title),
        "style": "\n".join((COLOURS, _source("style.css"), SHAPES)),
        "script": "\n".join(map(_source, SCRIPTS)),
        "data": packed(data),
    }
    text = _source("template.html")
    for name, part in parts.items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text


def packed(data: Mapping[str, Any]) -> str:
    """JSON, gzip, base64; `unpacked` is its inverse."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")


def unpacked(text: str) -> Any:
    """The data of a page, from the text inside of it."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def _source(name: str) -> str:
    return (files(SOURCES) / name).read_text(encoding="utf-8")
