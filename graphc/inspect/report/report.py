"""Reports: what is gathered about graphs, and where the page is written."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphc.base.files import write_file
from graphc.inspect.report.gradients import gradient_data
from graphc.inspect.report.kernels import code_data, kernel_data, memory_data, profile_data
from graphc.inspect.report.page import page
from graphc.inspect.report.passes import pass_data
from graphc.passes.instruments import Record, Run
from graphc.passes.plan_memory import schedule
from graphc.runtime.backend import load_backend
from graphc.runtime.executable import Executable


@dataclass(frozen=True)
class Report:
    """Everything that a page shows, as plain data. runs: one a pipeline."""

    title: str
    facts: Mapping[str, str]
    runs: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"title": self.title, "facts": dict(self.facts), "runs": list(self.runs)}

    def html(self) -> str:
        """The page."""
        return page(self.title, self.to_dict())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page. Raises GraphcError if the file cannot be written."""
        return write_file(path, self.html())


def report(
    executable: Executable, batch: int = 1, backend: str = "llvm", title: str | None = None
) -> Report:
    """What became of an executable's graph, and what runs, for batches of that size.

    Its kernels are timed now, if it has run with that batch size; one that interprets its graph has
    none. backend: that it was compiled for. title: by default the graph's name.
    """
    graph, runner = executable.graph, executable.runner
    generator, pipeline, recorder = load_backend(backend), runner.pipeline(batch), Record()
    lowered = pipeline(graph, [recorder])
    passes, names = pass_data(graph, recorder.runs)
    run = {"name": graph.name, **passes, "gradients": gradient_data(graph, names)}
    facts = {"backend": backend, "batch": str(batch)}
    if generator.forms and pipeline.passes:
        scheduled = schedule(lowered)
        profile = runner.profile(batch)
        run |= {
            **code_data(lowered, generator),
            "kernels": kernel_data(scheduled, names, profile, batch),
            "memory": memory_data(scheduled, names, batch),
            "profile": profile_data(profile),
        }
        described = generator.describe()
        facts |= {key: str(described[key]) for key in ("processor", "llvm") if key in described}
    return Report(title or graph.name, facts | {"made": _now()}, (run,))


class PassReport:
    """A report on pipelines as they run, one after the other: their passes, no kernels."""

    def __init__(self) -> None:
        self.runs: list[Mapping[str, Any]] = []

    def add(self, runs: Sequence[Run]) -> None:
        """One more pipeline, by what each of its passes did."""
        graph = runs[0].before
        passes, names = pass_data(graph, runs)
        found = {"name": graph.name, **passes, "gradients": gradient_data(graph, names)}
        self.runs.append(found)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page. Raises GraphcError if the file cannot be written."""
        return Report("passes", {"made": _now()}, tuple(self.runs)).save(path)


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M")
