"""How things show themselves in notebooks and on terminals.

What is `Displayed` has the methods that IPython and rich look for. What they return is made on a
higher floor: the facade names the module, which is loaded when something is shown for the first
time. This file knows no class of graphc and draws nothing.
"""

from __future__ import annotations

import importlib
from typing import Any


class Displayed:
    """Something that a notebook shows as HTML or SVG and `rich` with colours."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        return _shown("html", self)  # type: ignore[no-any-return]

    def _repr_svg_(self) -> str | None:
        return _shown("svg", self)  # type: ignore[no-any-return]

    def __rich__(self) -> Any:
        return _shown("rich", self)


_renderers: list[str] = []


def provide(module: str) -> None:
    """Has `module` show what is `Displayed`, by its functions html, svg and rich of one thing.

    html and svg return text, or None for what has no such form; rich returns what rich prints.
    """
    _renderers[:] = [module]


def _shown(form: str, thing: Displayed) -> Any:
    return getattr(importlib.import_module(_renderers[0]), form)(thing)
