"""The form of a pass, pipelines of passes and their text, and the hook for whoever watches.

A pass is a frozen dataclass with a `name`; its fields are its options; `run` is pure. A pipeline is a tuple of passes;
``Pipeline.parse("simplify,svd{rank=8}")`` reads the text that ``str(pipeline)`` prints.
"""

from __future__ import annotations

import dataclasses
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph

PASSES: dict[str, type[Pass]] = {}


@dataclass(frozen=True)
class Pass(ABC):
    """A function from graph to graph. Subclasses set `name`, declare options as fields, and implement `run`."""

    name: ClassVar[str]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "name" in cls.__dict__:
            PASSES[cls.name] = cls

    @abstractmethod
    def run(self, graph: Graph) -> Graph:
        """The transformed graph; the same object if nothing changed."""

    def __call__(self, graph: Graph) -> Graph:
        return self.run(graph)

    def __str__(self) -> str:
        changed = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        }
        options = ",".join(f"{k}={v}" for k, v in changed.items())
        return f"{self.name}{{{options}}}" if options else self.name


class Instrument(ABC):
    """Whoever watches a pipeline: prints, dumps, times, verifies, checks."""

    def before(self, step: Pass, graph: Graph) -> None:  # noqa: B027
        """Called before `step` runs on `graph`."""

    @abstractmethod
    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        """Called when `step` has made `new` of `old`."""


@dataclass(frozen=True)
class Pipeline:
    """Passes run one after the other."""

    passes: tuple[Pass, ...]

    def __call__(self, graph: Graph, instruments: Sequence[Instrument] = ()) -> Graph:
        for step in self.passes:
            for instrument in instruments:
                instrument.before(step, graph)
            begin = time.perf_counter()
            new = step.run(graph)
            seconds = time.perf_counter() - begin
            for instrument in instruments:
                instrument.after(step, graph, new, seconds)
            graph = new
        return graph

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))

    @staticmethod
    def parse(text: str) -> Pipeline:
        """Reads ``simplify,svd{rank=8,layer=fc1}``.

        Raises GraphcError for a pass or an option that does not exist, or a value that is not of the option's type.
        """
        from graphc.passes import catalog

        catalog.load()
        found = []
        for match in re.finditer(r"\s*([^,{}]+?)\s*(?:\{([^{}]*)\})?\s*(?:,|$)", text):
            found.append(_pass_from(match[1], match[2] or ""))
        consumed = re.sub(r"\s*[^,{}]+?\s*(?:\{[^{}]*\})?\s*(?:,|$)", "", text)
        if consumed.strip():
            raise GraphcError(
                f"cannot read the pipeline {text!r}", remedy='write it as "simplify,svd{rank=8}"'
            )
        return Pipeline(tuple(found))


def _pass_from(name: str, options: str) -> Pass:
    kind = PASSES.get(name)
    if kind is None:
        raise GraphcError(
            f"there is no pass named {name!r}", remedy="passes: " + ", ".join(sorted(PASSES))
        )
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in options.split(","))):
        key, equals, value = part.partition("=")
        if not equals or key.strip() not in fields:
            listed = ", ".join(fields) or "none"
            raise GraphcError(
                f"pass {name} has no option {part!r}", remedy=f"its options: {listed}"
            )
        values[key.strip()] = _option(name, key.strip(), value.strip(), fields[key.strip()].default)
    return kind(**values)


def _option(name: str, key: str, text: str, default: Any) -> Any:
    readers: dict[type, Any] = {
        bool: {"True": True, "False": False, "1": True, "0": False}.__getitem__
    }
    try:
        return readers.get(type(default), type(default))(text)
    except (KeyError, ValueError):
        raise GraphcError(
            f"pass {name}: option {key}={text!r} is not a {type(default).__name__}",
            remedy="correct the value",
        ) from None
