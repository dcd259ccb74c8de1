"""Checkpoints: a training in a file, complete enough to go on with the same bits.

A save never destroys the one before it: that lies beside it until the next is on the disk, and is
taken up where the newer one turns out to be damaged. Knows what is saved, not how it is trained.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graphc.base.arguments import as_file
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.train import model_file
from graphc.train.engine import Engine
from graphc.train.run import Run
from graphc.train.tensor_file import remove_parts

Array = np.ndarray[Any, Any]
BEST = "best/"  # before the names of the arrays of the best epoch
DIGESTS = {
    "network": "another network",
    "step": "another loss, optimizer, clipping or choice of frozen parameters",
    "data": "other training data",
    "validation": "other validation data",
}
SETTINGS = DIGESTS | {
    "batch_size": "another batch size",
    "seed": "another seed",
    "accumulate": "another accumulate",
    "learning_rates": "other learning rates",
    "early_stopping": "another early stopping",
}


def settings_of(
    forward: Graph, step: Graph, data: Iterable[Array], validation: Iterable[Array], **shown: object
) -> dict[str, str]:
    """What must not differ between a training and its resumption, one text for each of SETTINGS."""
    return {
        "network": _digest_text(forward),
        "step": _digest_text(step),
        "data": _digest(data),
        "validation": _digest(validation),
        **{name: str(value) for name, value in shown.items()},
    }


class Checkpoint:
    """The file that one training is saved to, and ``.previous`` beside it: the save before."""

    def __init__(
        self, path: str | os.PathLike[str], engine: Engine, settings: Mapping[str, str]
    ) -> None:
        self.path = as_file(path)
        self.previous = self.path.with_name(f"{self.path.name}.previous")
        self.engine = engine
        self.settings = dict(settings)
        self.graph = str(engine.graph("forward"))
        self.good = False  # whether `path` is known to be whole, so that it may replace `previous`

    def begin(self, *, resume: bool) -> Run:
        """Where training begins: at the start, or where the file stands if it is to be resumed.

        Raises GraphcError if there is a file that is not to be resumed or cannot be, and if there
        cannot be a file.
        """
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise GraphcError(
                f"no checkpoint can be written to {str(self.path)!r}",
                remedy="give a file in a folder that exists",
            )
        remove_parts(self.path)
        files = [file for file in (self.path, self.previous) if file.exists()]
        if not files:
            return Run()
        if not resume:
            raise GraphcError(
                f"there is a checkpoint already: {str(files[0])!r}",
                remedy="give resume=True to go on from it, another name, or remove it",
            )
        problems: list[str] = []
        for file in files:
            try:
                _, arrays, text = model_file.read(file)
            except GraphcError as error:
                problems.append(error.what)
                continue
            self.good = file == self.path
            self._warn(file, problems)
            return self._restored(file, arrays, text)
        raise GraphcError(
            f"no checkpoint can be read: {'; '.join(problems)}",
            remedy="remove the files to begin anew",
        )

    def save(self, run: Run) -> None:
        """Writes where training stands. Raises GraphcError if that cannot be done.

        Then the save before is as it was.
        """
        engine = self.engine
        arrays = dict(engine.arrays)
        if run.best.arrays is not None:
            arrays |= {f"{BEST}{name}": array for name, array in run.best.arrays.items()}
        training = {
            "settings": self.settings,
            "run": run.state(),
            "counts": [engine.steps, engine.updates, engine.pending],
            "schedules": engine.rates.state(),
        }
        model_file.write(
            self.path,
            arrays,
            self.graph,
            training=json.dumps(training),
            previous=self.previous if self.good else None,
        )
        self.good = True

    def _warn(self, file: Path, problems: list[str]) -> None:
        if self.good:
            return
        reason = problems[0] if problems else f"there is no file {str(self.path)!r}"
        warnings.warn(f"resuming from the save before, {file.name}: {reason}", stacklevel=5)

    def _restored(self, file: Path, arrays: dict[str, Array], text: str | None) -> Run:
        """Puts the engine where the file stands."""
        engine = self.engine
        try:
            training = json.loads(text or "")
            saved = dict(training["settings"])
            best = {n.removeprefix(BEST): a for n, a in arrays.items() if n.startswith(BEST)}
            run = Run.of(training["run"], best or None)
            steps, updates, pending = (int(n) for n in training["counts"])
            if min(steps, updates, pending) < 0:
                raise ValueError(f"counts {training['counts']}")
            schedules = [{str(k): float(v) for k, v in s.items()} for s in training["schedules"]]
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise GraphcError(
                f"{str(file)!r} holds no training to resume: {error!r}",
                remedy="give the checkpoint of a fit; gc.load reads what model.save wrote",
            ) from error
        self._check_settings(file, saved)
        now = {name: a for name, a in arrays.items() if not name.startswith(BEST)}
        _check_arrays(file, engine.arrays, now, whole=True)
        _check_arrays(file, engine.arrays, best, whole=False)
        engine.rates.restore(schedules)
        engine.write(now)
        engine.steps, engine.updates, engine.pending = steps, updates, pending
        return run

    def _check_settings(self, file: Path, saved: Mapping[str, str]) -> None:
        for name, complaint in SETTINGS.items():
            if saved.get(name) != self.settings[name]:
                values = f": {saved.get(name)}, not {self.settings[name]}"
                raise GraphcError(
                    f"{str(file)!r} was saved with {complaint}{'' if name in DIGESTS else values}",
                    remedy="resume with what the training began with, "
                    "or train to another checkpoint file",
                )


def _check_arrays(
    file: Path, held: Mapping[str, Array], given: Mapping[str, Array], *, whole: bool
) -> None:
    """Raises GraphcError unless all that is given (and, if whole, all that is held) fits."""
    wrong = [n for n, a in given.items() if n not in held or not _alike(a, held[n])]
    wrong += [n for n in held if whole and n not in given]
    if wrong:
        raise GraphcError(
            f"{str(file)!r} does not hold what this training keeps: {wrong[0]!r}",
            remedy="resume the training that was saved",
        )


def _alike(one: Array, other: Array) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _digest(arrays: Iterable[Array]) -> str:
    """The SHA-256 of arrays, their types and shapes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape};".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _digest_text(graph: Graph) -> str:
    """The SHA-256 of a graph's text without the comments, which say the user's lines."""
    text = re.sub(r"  # [^\n]*", "", str(graph))
    return hashlib.sha256(text.encode()).hexdigest()
