"""Whoever watches a pipeline: print, dump, time, verify and check, one class each.

`from_settings` makes those that the ``GRAPHC_*`` variables ask for. What they say goes to standard
error, so that a program's own output stays clean. They know passes only by name and by whether a
pass is meant to change values.
"""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from graphc.base import settings
from graphc.base.errors import GraphcError, InternalError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.rewrite import RuleSet
from graphc.ir.text import verify
from graphc.ir.types import DType, TensorType
from graphc.ops.interpret import interpret
from graphc.passes.base import Instrument, Pass, RulePass
from graphc.passes.limit import limit_from_settings
from graphc.passes.retype import retype

Array = np.ndarray[Any, Any]
LEAST_SCALE = 0.01
REPORT = "graphc.inspect.report:PassReport"  # of a later room: loaded when something is dumped


def from_settings() -> tuple[Instrument, ...]:
    """The instruments that GRAPHC_BISECT, _PRINT, _DUMP, _TIME, _VERIFY and _CHECK switch on.

    The checks come last, so that a graph that fails them has been printed and dumped.
    """
    limit = limit_from_settings()
    found: list[Instrument] = [] if limit is None else [limit]
    if settings.PRINT.on():
        found.append(Print())
    if settings.DUMP.on():
        found.append(_dump_to(settings.DUMP.text()))
    if settings.TIME.on():
        found.append(Time())
    if settings.VERIFY.on():
        found.append(Verify())
    if settings.CHECK.on():
        found.append(Check())
    return tuple(found)


@dataclass
class Print(Instrument):
    """Prints the graph after every pass that changed it. stream: standard error by default."""

    stream: TextIO | None = None

    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        text = "unchanged" if new is old else f"\n{new}"
        print(f"-- {step} on {old.name}: {text}", file=self.stream or sys.stderr)


@dataclass(frozen=True)
class Run:
    """One pass on one graph. rules: how often each fired, for a pass that is made of rules."""

    step: str
    before: Graph
    after: Graph
    seconds: float
    rules: Mapping[str, int]


@dataclass
class Record(Instrument):
    """Keeps what every pass made of its graph, in `runs`."""

    runs: list[Run] = field(default_factory=list, init=False)
    _fired: Counter[str] = field(default_factory=Counter, init=False)

    def run(self, step: Pass, graph: Graph) -> Graph | None:
        if not isinstance(step, RulePass):
            return None
        return RuleSet(step.rules(), fired=self._fired).simplified(graph)

    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        self.runs.append(Run(str(step), old, new, seconds, dict(self._fired)))
        self._fired.clear()


@dataclass
class Dump(Record):
    """Writes numbered files into `folder`: every graph before its first pass and after each pass.

    ``000_lenet5_input.txt``, then for each pass ``001_lenet5_simplify.txt`` and, if it changed the
    graph, ``001_lenet5_simplify.diff``; and beside them ``report.html``, a page with all of it.
    Raises GraphcError if the folder cannot be written.
    """

    folder: str
    _number: int = field(default=0, init=False)
    _last: Graph | None = field(default=None, init=False)
    _report: Any = field(default=None, init=False)

    def before(self, step: Pass, graph: Graph) -> None:
        if graph is not self._last:
            self._write(graph, "input")

    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        super().after(step, old, new, seconds)
        self._write(new, step.name, old.diff(new))

    def end(self) -> None:
        if not self.runs:
            return
        if self._report is None:
            module, _, maker = REPORT.partition(":")
            self._report = getattr(importlib.import_module(module), maker)()
        self._report.add(self.runs)
        self._report.save(Path(self.folder) / "report.html")
        self.runs.clear()

    def _write(self, graph: Graph, what: str, diff: str = "") -> None:
        stem = f"{self._number:03d}_{_plain(graph.name)}_{what}"
        self._number += 1
        self._last = graph
        try:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            (Path(self.folder) / f"{stem}.txt").write_text(f"{graph}\n", encoding="utf-8")
            if diff:
                (Path(self.folder) / f"{stem}.diff").write_text(f"{diff}\n", encoding="utf-8")
        except OSError as error:
            raise GraphcError(
                f"cannot dump graphs to {self.folder!r}: {error.strerror}",
                remedy="set GRAPHC_DUMP to a folder that can be written",
            ) from error


@cache
def _dump_to(folder: str) -> Dump:
    """One for all pipelines of the process, so that their files and its page are numbered on."""
    return Dump(folder)


@dataclass
class Time(Instrument):
    """Prints the time of every pass and keeps it. rows: (pass, graph, nodes before, after, s)."""

    stream: TextIO | None = None
    rows: list[tuple[str, str, int, int, float]] = field(default_factory=list)

    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        self.rows.append((str(step), old.name, len(old), len(new), seconds))
        line = f"{seconds * 1e3:9.2f} ms  {step} on {old.name}: {len(old)} -> {len(new)} nodes"
        print(line, file=self.stream or sys.stderr)


class Verify(Instrument):
    """Re-runs every shape rule, and the promise that a pass keeps the outputs' types.

    Raises InternalError naming the pass.
    """

    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        try:
            verify(new)
        except (InternalError, GraphcError) as error:
            raise InternalError(f"pass {step}: {error.args[0]}") from error
        if step.changes_values:
            return
        before, after = _signature(old), _signature(new)
        if before != after:
            raise InternalError(
                f"pass {step} made {', '.join(after)} of the outputs {', '.join(before)}"
            )


@dataclass
class Check(Instrument):
    """Evaluates the graph before and after every pass on random inputs, and compares.

    Both are evaluated in f64 by the numpy oracle, so that only what a pass changed is left, not how
    sums were ordered: each output may differ by `tolerance` of its largest value (constants folded
    in f32 are rounded to 6e-8) or of 0.01 if that is larger, since an output may be what is left of
    numbers that cancel. nan and infinities must be in the same places. Passes that are meant to
    change values are not checked. n: batch size.

    Raises InternalError naming the pass, the output and the largest difference.
    """

    n: int = 3
    tolerance: float = 1e-5
    seed: int = 0

    def after(self, step: Pass, old: Graph, new: Graph, seconds: float) -> None:
        problem = "" if step.changes_values else self.problem(old, new)
        if problem:
            raise InternalError(f"pass {step} {problem}")

    def problem(self, old: Graph, new: Graph) -> str:
        """What whoever made `new` of `old` did wrong, in words; empty if nothing."""
        if new is old:
            return ""
        inputs = self._inputs(old)
        added = [i.attrs["name"] for i in new.inputs if i.attrs["name"] not in inputs]
        if added:
            return f"reads {added[0]!r}, no input of {old.name}"
        before, after = (interpret(retype(graph), inputs, self.n) for graph in (old, new))
        if len(before) != len(after):
            return f"made {len(after)} outputs of {len(before)}"
        for number, (expected, found) in enumerate(zip(before, after, strict=True)):
            difference = self._difference(expected, found)
            if difference:
                output = f"output {number} ({old.names[old.outputs[number]]}) of {old.name}"
                return f"changed {output}: {difference}"
        return ""

    def _inputs(self, graph: Graph) -> dict[str, Array]:
        """Normal floats, or positive ones if normal ones lead to nothing but nan."""
        for positive in (False, True):
            rng = np.random.default_rng(self.seed)
            drawn = {str(i.attrs["name"]): _drawn(i, self.n, rng, positive) for i in graph.inputs}
            outputs = interpret(retype(graph), drawn, self.n)
            if all(np.isfinite(o).any() or not o.size for o in outputs):
                break
        return drawn

    def _difference(self, expected: Array, found: Array) -> str:
        """What is different, in words; empty if nothing is."""
        if expected.shape != found.shape:
            return f"the shape {list(expected.shape)} became {list(found.shape)}"
        if not expected.size:
            return ""
        a, b = np.asarray(expected, np.float64), np.asarray(found, np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        gap = np.where(np.isnan(gap), np.inf, gap)
        finite = np.abs(a[np.isfinite(a)])
        scale = max(LEAST_SCALE, float(finite.max()) if finite.size else 0.0)
        if gap.max() <= self.tolerance * scale:
            return ""
        worst = np.unravel_index(int(gap.argmax()), gap.shape)
        place = [int(i) for i in worst]
        return (
            f"the largest difference is {gap[worst]:.6g} at {place}, "
            f"where {a[worst]:.9g} became {b[worst]:.9g}"
        )


def _drawn(node: Node, n: int, rng: np.random.Generator, positive: bool) -> Array:
    """A random array for an input. States are positive: variances and counts are among them."""
    type = node.tensor
    shape = type.concrete(n)
    if type.dtype is DType.bool:
        return np.asarray(rng.random(shape) < 0.5)
    if not type.dtype.is_float:
        return np.asarray(rng.integers(0, 4, shape), type.dtype.numpy)
    values = rng.standard_normal(shape)
    if positive or node.attrs["kind"] == "state":
        values = 0.5 + np.abs(values)
    return np.asarray(values, np.float64)


def _signature(graph: Graph) -> list[str]:
    """The outputs' types without layouts, which a pass may choose."""
    return [str(TensorType(o.tensor.dtype, o.tensor.shape)) for o in graph.outputs]


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
