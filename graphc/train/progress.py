"""Who watches a `fit`: an abstract observer, one that prints a line an epoch, and a silent one.

The live bar for terminals is in `progress_bar`, loaded only when it is used. Observers know nothing
of models.
"""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from typing import TextIO

from graphc.base.errors import GraphcError
from graphc.train.history import Epoch


class Progress(ABC):
    """An observer of training. `close` is called at the end, however it ends."""

    @abstractmethod
    def epoch_begin(self, epoch: int, epochs: int, steps: int) -> None:
        """Epoch number `epoch` (from 1) of `epochs` begins; it has `steps` steps."""

    @abstractmethod
    def step(self, step: int, loss: float, accuracy: float | None, samples: int) -> None:
        """Step number `step` (from 1) of the epoch is done.

        loss, accuracy: means over the epoch so far. samples: trained on so far in the epoch.
        """

    @abstractmethod
    def epoch_end(self, record: Epoch) -> None:
        """The epoch is over, validation included."""

    def interrupted(self, epoch: int, step: int) -> None:
        """Ctrl-C ended training after `step` steps of `epoch`."""
        print(
            f"interrupted in epoch {epoch} after {step} steps: "
            "the weights of the last finished step are kept",
            file=sys.stderr,
        )

    def close(self) -> None:  # noqa: B027
        """Training is over."""


class Lines(Progress):
    """One line an epoch on `stream` (standard output by default)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream
        self.epochs = 0

    def epoch_begin(self, epoch: int, epochs: int, steps: int) -> None:
        """Remembers how many epochs there are."""
        self.epochs = epochs

    def step(self, step: int, loss: float, accuracy: float | None, samples: int) -> None:
        """Nothing: a line an epoch is enough."""

    def epoch_end(self, record: Epoch) -> None:
        """Prints the line."""
        print(epoch_text(record, self.epochs), file=self.stream or sys.stdout, flush=True)


class Silent(Progress):
    """Says nothing."""

    def epoch_begin(self, epoch: int, epochs: int, steps: int) -> None:
        """Nothing."""

    def step(self, step: int, loss: float, accuracy: float | None, samples: int) -> None:
        """Nothing."""

    def epoch_end(self, record: Epoch) -> None:
        """Nothing."""

    def interrupted(self, epoch: int, step: int) -> None:
        """Nothing."""


def epoch_text(record: Epoch, epochs: int) -> str:
    """``epoch  3/10  loss 0.1234  accuracy 97.1 %  validation ...  12345 images/s``."""
    width = len(str(epochs))
    parts = [f"epoch {record.number:{width}d}/{epochs}", f"loss {record.loss:.4f}"]
    if record.accuracy is not None:
        parts.append(f"accuracy {100 * record.accuracy:.1f} %")
    if record.validation_loss is not None:
        parts.append(f"validation loss {record.validation_loss:.4f}")
    if record.validation_accuracy is not None:
        parts.append(f"validation accuracy {100 * record.validation_accuracy:.1f} %")
    parts.append(f"{record.samples / max(record.seconds, 1e-9):.0f} images/s")
    return "  ".join(parts)


def progress_from(given: Progress | str | None) -> Progress:
    """The observer that the user gave or named. Raises GraphcError if it is neither.

    "auto": a live bar on a terminal, one line an epoch elsewhere; "bar", "lines"; None: silent.
    """
    if isinstance(given, Progress):
        return given
    if given is None:
        return Silent()
    if given == "lines" or (given == "auto" and not sys.stdout.isatty()):
        return Lines()
    if given in ("auto", "bar"):
        found: Progress = importlib.import_module("graphc.train.progress_bar").Bar()
        return found
    raise GraphcError(
        f"progress {given!r}",
        remedy='give "auto", "bar", "lines", None, or a graphc.train.progress.Progress',
    )
