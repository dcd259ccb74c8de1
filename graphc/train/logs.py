"""Logs of a `fit` for other programs: JSON Lines, and event files for TensorBoard.

A log is an observer like any other (`graphc.train.progress`), and goes on where an earlier one of
the same file or folder ended. Only the record of an epoch says how the network does; the lines of
steps between are means over the epoch so far.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from graphc.base.arguments import check_whole
from graphc.base.errors import GraphcError
from graphc.train.history import Epoch
from graphc.train.progress import Progress

OneLog = Progress | str | os.PathLike[str]
Log = OneLog | Sequence[OneLog] | None
JSON_LINES = (".jsonl", ".json", ".log")


class JsonLines(Progress):
    """Adds a line to a file for every epoch, an object: ``{"event": "epoch", "number": 1, ...}``.

    The keys are those of `Epoch`; a number that is not finite is null. every: after how many steps
    there is a line ``{"event": "step", "epoch": 1, "step": 50, "loss": ..., "accuracy": ...,
    "samples": ...}`` too. A line is on the disk as soon as it is written, so the file can be
    followed. Raises GraphcError if it cannot be written, before training begins.
    """

    def __init__(self, path: str | os.PathLike[str], every: int | None = None) -> None:
        if every is not None:
            check_whole("every", every)
        self.path = Path(path)
        self.every = every
        self.epoch = 0
        self._file: TextIO | None = None

    def epoch_begin(self, epoch: int, epochs: int, steps: int) -> None:
        """Opens the file, so that what is wrong with it is said before training."""
        self.epoch = epoch
        self._put("")

    def step(self, step: int, loss: float, accuracy: float | None, samples: int) -> None:
        """Writes a line, if the step's number is a multiple of `every`."""
        if self.every is not None and step % self.every == 0:
            figures = {"loss": loss, "accuracy": accuracy, "samples": samples}
            self._write({"event": "step", "epoch": self.epoch, "step": step, **figures})

    def epoch_end(self, record: Epoch) -> None:
        """Writes the epoch's line."""
        self._write({"event": "epoch", **asdict(record)})

    def interrupted(self, epoch: int, step: int) -> None:
        """Writes where training ended."""
        self._write({"event": "interrupted", "epoch": epoch, "step": step})

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, event: dict[str, Any]) -> None:
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in event.items()
        }
        self._put(json.dumps(finite, allow_nan=False) + "\n")

    def _put(self, text: str) -> None:
        try:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise _unwritable(self.path, error) from error


class TensorBoard(Progress):
    """Writes event files into a folder, for ``tensorboard --logdir folder``.

    The scalars of an epoch, by its number: loss/training, loss/validation, accuracy/training,
    accuracy/validation, learning_rate/0 (and on, for groups), images_per_second. Needs the extra
    ``tensorboard``; raises GraphcError without it, and if the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise GraphcError(
                f"event files for TensorBoard need tensorboardX, which cannot be imported: {error}",
                remedy='pip install "graphc[tensorboard]", or log to a file such as "run.jsonl"',
            ) from error
        try:
            self._writer = SummaryWriter(os.fspath(folder))
        except OSError as error:
            raise _unwritable(Path(folder), error) from error

    def epoch_begin(self, epoch: int, epochs: int, steps: int) -> None:
        """Nothing."""

    def step(self, step: int, loss: float, accuracy: float | None, samples: int) -> None:
        """Nothing: epochs are enough."""

    def epoch_end(self, record: Epoch) -> None:
        """Writes the epoch's scalars, and sees to it that they are on the disk."""
        figures = {
            "loss/training": record.loss,
            "loss/validation": record.validation_loss,
            "accuracy/training": record.accuracy,
            "accuracy/validation": record.validation_accuracy,
            "images_per_second": record.samples / max(record.seconds, 1e-9),
        } | {f"learning_rate/{k}": rate for k, rate in enumerate(record.learning_rates)}
        for tag, value in figures.items():
            if value is not None:
                self._writer.add_scalar(tag, value, record.number)
        self._writer.flush()

    def interrupted(self, epoch: int, step: int) -> None:
        """Nothing: what is written stays."""

    def close(self) -> None:
        """Ends the event file."""
        self._writer.close()


def _unwritable(path: Path, error: OSError) -> GraphcError:
    return GraphcError(
        f"cannot write the log {str(path)!r}: {error.strerror}",
        remedy='give a file such as "run.jsonl", or a folder, where files can be written',
    )


class Several(Progress):
    """Observers told one after the other."""

    def __init__(self, observers: Sequence[Progress]) -> None:
        self.observers = tuple(observers)

    def epoch_begin(self, epoch: int, epochs: int, steps: int) -> None:
        """Told to all."""
        for observer in self.observers:
            observer.epoch_begin(epoch, epochs, steps)

    def step(self, step: int, loss: float, accuracy: float | None, samples: int) -> None:
        """Told to all."""
        for observer in self.observers:
            observer.step(step, loss, accuracy, samples)

    def epoch_end(self, record: Epoch) -> None:
        """Told to all."""
        for observer in self.observers:
            observer.epoch_end(record)

    def interrupted(self, epoch: int, step: int) -> None:
        """Told to all."""
        for observer in self.observers:
            observer.interrupted(epoch, step)

    def close(self) -> None:
        """Told to all."""
        for observer in self.observers:
            observer.close()


def with_log(progress: Progress, log: Log) -> Progress:
    """`progress`, and what the user gave `fit` as `log`: None, a path, a `Progress`, or several.

    A path that ends in .jsonl, .json or .log is a file of JSON Lines, any other a folder of event
    files for TensorBoard. Raises GraphcError for what is neither.
    """
    if log is None:
        return progress
    given = log if isinstance(log, tuple | list) else (log,)
    return Several((progress, *map(_log_from, given)))


def _log_from(log: object) -> Progress:
    if isinstance(log, Progress):
        return log
    if not isinstance(log, str | os.PathLike):
        raise GraphcError(
            f"log {log!r}", remedy='give "run.jsonl", a folder, or a graphc.train.logs.JsonLines'
        )
    return JsonLines(log) if Path(log).suffix in JSON_LINES else TensorBoard(log)
