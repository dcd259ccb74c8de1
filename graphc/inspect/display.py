"""How graphs, models, executables, pipelines and histories show themselves: as HTML and SVG in a
notebook, and as what rich prints.

`graphc.base.display` finds these functions. Each is chosen by the type of what is shown; they draw
with the other files of this room and compute nothing of their own.
"""

from __future__ import annotations

from functools import singledispatch
from html import escape
from typing import Any

from graphc.inspect.curves import Curve, curves
from graphc.inspect.drawing import draw
from graphc.inspect.highlight import STYLES, highlighted, highlighted_html
from graphc.inspect.render import Sheet, counted
from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline
from graphc.passes.catalog import describe
from graphc.runtime.executable import Executable
from graphc.train.history import History
from graphc.train.model import Model

LARGEST_DRAWING = 400  # nodes
COLOURS = {
    "comment": "#818b98", "name": "#2a929b", "type": "#2f9e6e", "string": "#9a6700",
    "keyword": "#a371f7", "op": "#3b82d6", "attribute": "#818b98", "added": "#2f9e6e",
    "removed": "#e5534b", "place": "#2a929b",
}  # fmt: skip
assert COLOURS.keys() == STYLES.keys()
STYLE = "".join(f".graphc-{kind} {{ color: {colour} }}" for kind, colour in COLOURS.items())


@singledispatch
def html(thing: Any) -> str | None:
    """`thing` as HTML that can stand in any page; None for what has no such form."""
    return None


@singledispatch
def svg(thing: Any) -> str | None:
    """`thing` as a picture; None for what has none."""
    return None


@singledispatch
def rich(thing: Any) -> Any:
    """What rich prints for `thing`."""
    return str(thing)


# -- graphs ----------------------------------------------------------------------------------------


@html.register
def _(graph: Graph) -> str:
    """The drawing, unless it would be too large to read, and the text below it."""
    drawn = svg(graph)
    picture = f'<div style="overflow: auto; max-height: 40em">{drawn}</div>' if drawn else ""
    title = f"{escape(graph.name)}: {counted(len(graph))} nodes"
    opened = "" if picture else ' open="open"'
    text = highlighted_html(str(graph))
    return (
        f"<style>{STYLE}</style>{picture}"
        f"<details{opened}><summary>{title}</summary>{text}</details>"
    )


@svg.register
def _(graph: Graph) -> str | None:
    return draw(graph) if len(graph) <= LARGEST_DRAWING else None


@rich.register
def _(graph: Graph) -> Any:
    return highlighted(str(graph))


# -- what is compiled and trained ------------------------------------------------------------------


@html.register
def _(model: Model) -> str:
    return model.summary().sheet().html()


@rich.register
def _(model: Model) -> Any:
    return model.summary().sheet().rich()


@html.register
def _(executable: Executable) -> str:
    return _interface(executable).html()


@rich.register
def _(executable: Executable) -> Any:
    return _interface(executable).rich()


def _interface(executable: Executable) -> Sheet:
    """What is fed and what comes out."""
    graph = executable.graph
    donated = dict(graph.donations)
    fed = [(f"%{i.attrs['name']}", str(i.attrs["kind"]), str(i.tensor)) for i in graph.inputs]
    made = [
        (f"%{graph.names[output]}", _fate(graph, donated.get(number)), str(output.tensor))
        for number, output in enumerate(graph.outputs)
    ]
    return Sheet(f"{graph.name}, compiled", ("value", "is", "type"), (*fed, *made))


def _fate(graph: Graph, source: int | None) -> str:
    if source is None:
        return "output"
    return f"overwrites %{graph.inputs[source].attrs['name']}"


# -- pipelines and histories -----------------------------------------------------------------------


@html.register
def _(pipeline: Pipeline) -> str:
    return _passes(pipeline).html()


@rich.register
def _(pipeline: Pipeline) -> Any:
    return _passes(pipeline).rich()


def _passes(pipeline: Pipeline) -> Sheet:
    rows = [(str(step), describe(type(step)).summary) for step in pipeline.passes]
    return Sheet(f"{counted(len(rows))} passes", ("pass", "what it does"), rows)


@html.register
def _(history: History) -> str:
    return f"{svg(history)}{_epochs(history).html()}"


@svg.register
def _(history: History) -> str:
    loss: dict[str, Curve] = {"training": history.loss, "validation": history.validation_loss}
    accuracy: dict[str, Curve] = {
        "training": history.accuracy,
        "validation": history.validation_accuracy,
    }
    return curves({"loss": loss, "accuracy": accuracy})


@rich.register
def _(history: History) -> Any:
    return _epochs(history).rich()


def _epochs(history: History) -> Sheet:
    columns = ("epoch", "loss", "accuracy", "validation loss", "validation accuracy", "seconds")
    rows = [
        (str(e.number), f"{e.loss:.4f}", _percent(e.accuracy),
         "" if e.validation_loss is None else f"{e.validation_loss:.4f}",
         _percent(e.validation_accuracy), f"{e.seconds:.2f}")
        for e in history.epochs
    ]  # fmt: skip
    ends = {"interrupted": history.interrupted, "stopped early": history.stopped_early}
    notes = [note for note, holds in ends.items() if holds]
    if history.best_epoch is not None:
        notes.append(f"best epoch: {history.best_epoch}")
    title = "training" + (f" ({', '.join(notes)})" if notes else "")
    return Sheet(title, columns, rows, numbers=columns)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
