"""The form of a pass, pipelines of passes and their text, and the hook for whoever watches.

A pass is a frozen dataclass with a `name`; its fields are its options; `run` is pure. A pipeline is
a tuple of passes; ``Pipeline.parse("simplify,svd{rank=8}")`` reads the text that ``str(pipeline)``
prints. Nothing here knows a particular pass.
"""

from __future__ import annotations

import dataclasses
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from graphc.base.display import Displayed
from graphc.base.errors import GraphcError, InternalError
from graphc.ir.graph import Graph
from graphc.ir.rewrite import Rewrite, RuleSet

PASSES: dict[str, type[Pass]] = {}


@dataclass(frozen=True)
class Pass(ABC):
    """A function from graph to graph.

    Subclasses set `name`, declare options as fields with defaults, and implement `run`; a field
    with ``compare=False`` is no option but data, and not printed. changes_values: whether the
    result is meant to compute something else, as a derivative or a compressed network does.
    required: whether no code can be generated without it, so that it is never held back.
    """

    name: ClassVar[str]
    changes_values: ClassVar[bool] = False
    required: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "name" not in cls.__dict__:
            return
        known = PASSES.get(cls.name)
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise InternalError(f"pass {cls.name!r} is declared twice")
        PASSES[cls.name] = cls

    @abstractmethod
    def run(self, graph: Graph) -> Graph:
        """The transformed graph; the same object if nothing changed."""

    def __call__(self, graph: Graph) -> Graph:
        return self.run(graph)

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Every option with its default."""
        return {f.name: f.default for f in dataclasses.fields(cls) if f.compare}

    def __str__(self) -> str:
        given = {key: getattr(self, key) for key in self.options()}
        changed = {key: value for key, value in given.items() if value != self.options()[key]}
        options = ",".join(f"{key}={value}" for key, value in changed.items())
        return f"{self.name}{{{options}}}" if options else self.name


class RulePass(Pass):
    """A pass that is nothing but rules, applied until none fires."""

    @abstractmethod
    def rules(self) -> Sequence[Rewrite]:
        """The rules, in the order in which they are tried."""

    def run(self, graph: Graph) -> Graph:
        return RuleSet(self.rules()).simplified(graph)


class Instrument(ABC):
    """Whoever watches a pipeline: prints, dumps, times, verifies, checks."""

    def run(self, step: Pass, graph: Graph) -> Graph | None:
        """What `step` makes of `graph`, from an instrument that runs passes itself.

        None, as here, from one that only watches.
        """
        return None

    def before(self, step: Pass, graph: Graph) -> None:  # noqa: B027
        """Called before `step` runs on `graph`."""

    @abstractmethod
    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        """Called when `step` has made `new` of `old`."""

    def end(self) -> None:  # noqa: B027
        """Called when the last pass has run, or one has failed."""


@dataclass(frozen=True)
class Pipeline(Displayed):
    """Passes run one after the other."""

    passes: tuple[Pass, ...]

    def __call__(self, graph: Graph, instruments: Sequence[Instrument] = ()) -> Graph:
        try:
            for step in self.passes:
                graph = _watched(step, graph, instruments)
        finally:
            for instrument in instruments:
                instrument.end()
        return graph

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))

    @staticmethod
    def parse(text: str) -> Pipeline:
        """Reads ``simplify,svd{rank=8,layer=fc1}``; spaces do not matter, no text is no pass.

        Raises GraphcError for a pass or an option that does not exist, a value that is not of the
        option's type, or a comma or brace out of place.
        """
        from graphc.passes import catalog

        if not isinstance(text, str):
            raise GraphcError(
                f"a pipeline is read from text, not from a {type(text).__name__}",
                remedy='write it as "simplify,svd{rank=8}"',
            )
        catalog.load()
        found: list[Pass] = []
        position = 0
        while text[position:].strip():
            match = _ITEM.match(text, position)
            if match is None or (match[3] and not text[match.end() :].strip()):
                raise GraphcError(
                    f"cannot read the pipeline {text!r} from {text[position:].strip()!r} on",
                    remedy='write it as "simplify,svd{rank=8}"',
                )
            found.append(_pass_from(match[1], match[2] or ""))
            position = match.end()
        return Pipeline(tuple(found))


def _watched(step: Pass, graph: Graph, instruments: Sequence[Instrument]) -> Graph:
    """What `step` makes of `graph`."""
    for instrument in instruments:
        instrument.before(step, graph)
    begin = time.perf_counter()
    runs = (instrument.run(step, graph) for instrument in instruments)
    new = next((made for made in runs if made is not None), None) or step.run(graph)
    seconds = time.perf_counter() - begin
    for instrument in instruments:
        instrument.after(step, graph, new, seconds)
    return new


_ITEM = re.compile(r"\s*([^\s,{}]+)\s*(?:\{([^{}]*)\})?\s*(?:(,)|$)")


def _pass_from(name: str, options: str) -> Pass:
    kind = PASSES.get(name)
    if kind is None:
        raise GraphcError(
            f"there is no pass named {name!r}", remedy="passes: " + ", ".join(sorted(PASSES))
        )
    defaults = kind.options()
    values: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in options.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in defaults:
            listed = ", ".join(defaults) or "none"
            raise GraphcError(
                f"pass {name} has no option {part!r}", remedy=f"its options: {listed}"
            )
        values[key] = _option(name, key, value, defaults[key])
    return kind(**values)


_BOOLEANS = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}


def _option(name: str, key: str, text: str, default: Any) -> Any:
    kind = type(default)
    reader: Callable[[str], Any] = _BOOLEANS.__getitem__ if kind is bool else kind
    try:
        return reader(text)
    except (KeyError, ValueError):
        raise GraphcError(
            f"pass {name}: option {key}={text!r} is not of type {kind.__name__}",
            remedy=f"the default is {key}={default}",
        ) from None
