"""The live progress bar of `fit` on a terminal: loss, accuracy, images a second, time left.

The only file of training that knows rich.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from graphc.train.history import Epoch
from graphc.train.progress import Progress, epoch_text

REFRESH_SECONDS = 0.1


class Bar(Progress):
    """A bar over the whole training, and a line above it for every finished epoch."""

    def __init__(self, console: Console | None = None) -> None:
        self.rich = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task: TaskID | None = None
        self.epoch, self.epochs, self.steps = 0, 0, 0
        self.begin = self.shown = 0.0

    def epoch_begin(self, epoch: int, epochs: int, steps: int) -> None:
        """Starts the bar at the first epoch, and names the epoch."""
        self.epoch, self.epochs, self.steps = epoch, epochs, steps
        self.begin = time.perf_counter()
        if self.task is None:
            self.rich.start()
            self.task = self.rich.add_task("", total=epochs * steps, figures="")
        self.rich.update(self.task, description=f"epoch {epoch}/{epochs}")

    def step(self, step: int, loss: float, accuracy: float | None, samples: int) -> None:
        """Moves the bar, at most ten times a second."""
        now = time.perf_counter()
        if self.task is None or (now - self.shown < REFRESH_SECONDS and step < self.steps):
            return
        self.shown = now
        figures = f"loss {loss:.4f}"
        if accuracy is not None:
            figures += f"  accuracy {100 * accuracy:.1f} %"
        figures += f"  {samples / max(now - self.begin, 1e-9):.0f} images/s"
        done = (self.epoch - 1) * self.steps + step
        self.rich.update(self.task, completed=done, figures=figures)

    def epoch_end(self, record: Epoch) -> None:
        """Prints the epoch's line above the bar."""
        self.rich.console.print(epoch_text(record, self.epochs), highlight=False)

    def close(self) -> None:
        """Takes the bar away."""
        if self.task is not None:
            self.rich.stop()
