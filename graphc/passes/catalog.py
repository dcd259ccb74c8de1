"""Every pass there is: importing the modules of this package registers them by name.

It also describes them, from their fields and docstrings alone: a pass is documented in one place.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from typing import Any

import graphc.passes
from graphc.passes.base import PASSES, Pass


@dataclass(frozen=True)
class PassDescription:
    """What a reader wants to know of a pass.

    options: each option's name, the name of its type, and its default. summary: the first
    paragraph of the docstring. example: its line "before -> after".
    """

    name: str
    options: tuple[tuple[str, str, Any], ...]
    summary: str
    example: str

    def to_dict(self) -> dict[str, Any]:
        """The description as plain data."""
        options = [{"name": n, "type": t, "default": d} for n, t, d in self.options]
        return {
            "name": self.name,
            "options": options,
            "summary": self.summary,
            "example": self.example,
        }


def load() -> None:
    """Imports every module of this package."""
    for module in pkgutil.iter_modules(graphc.passes.__path__):
        importlib.import_module(f"graphc.passes.{module.name}")


def describe_passes() -> tuple[PassDescription, ...]:
    """Every pass, in alphabetical order: options with defaults, summary, before -> after."""
    load()
    return tuple(describe(PASSES[name]) for name in sorted(PASSES))


def describe(kind: type[Pass]) -> PassDescription:
    """One pass."""
    paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    examples = (p for p in paragraphs if "->" in p and not p.startswith(">>>"))
    return PassDescription(
        kind.name,
        tuple((name, type(value).__name__, value) for name, value in kind.options().items()),
        " ".join(paragraphs[0].split()),
        next(examples, ""),
    )
