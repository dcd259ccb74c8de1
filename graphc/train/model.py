"""`Model`: a network that predicts and trains, as ``graphc.Model``; and ``graphc.load``.

This is the facade that users hold: it checks what they give and hands on to the engine (graphs,
memory, compiled code), the fit loop and the checkpoint. It knows no layers and no backend.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.text import parse
from graphc.ir.types import TensorType, parse_type
from graphc.runtime.executable import Executable
from graphc.train import checkpoint
from graphc.train.dataset import Dataset
from graphc.train.engine import Engine
from graphc.train.fit import fit
from graphc.train.history import History
from graphc.train.losses import loss_from
from graphc.train.metrics import accuracy
from graphc.train.optim import Optimizer
from graphc.train.progress import Progress, progress_from

Array = np.ndarray[Any, Any]
LARGEST_BATCH = 1024
IGNORED_SUFFIX = ".num_batches_tracked"  # PyTorch counts batches; nothing here reads that


class Model:
    """A network compiled to predict and, given a loss and an optimiser, to train.

    net: a network (`graphc.nn`), any callable on traced tensors, or a graph (to predict only).
    type_text: the type of its input, such as "f32[N,1,32,32]". loss: "cross_entropy" (logits
    [N,classes] against class numbers i32[N] or probabilities), "mse", or a function of (output,
    target) on traced tensors, with target_type such as "f32[N,10]". optimizer: from `graphc.optim`.
    seed: of the initial weights and of dropout. threads: all cores by default. Raises GraphcError
    for anything that does not fit.
    """

    def __init__(
        self,
        net: Callable[..., Any] | Graph,
        type_text: str | TensorType | None = None,
        loss: str | Callable[..., Any] | None = None,
        optimizer: Optimizer | None = None,
        backend: str = "llvm",
        seed: int = 0,
        threads: int | None = None,
        *,
        target_type: str | TensorType | None = None,
    ) -> None:
        _check_network(net, type_text, loss)
        if optimizer is not None and not isinstance(optimizer, Optimizer):
            raise GraphcError(
                f"{optimizer!r} is not an optimizer", remedy="give optim.SGD(0.05), for example"
            )
        if optimizer is not None and loss is None:
            raise GraphcError("an optimizer without a loss", remedy='give loss="cross_entropy"')
        self.seed = _checked_seed(seed)
        self._engine = Engine(
            net,
            parse_type(type_text) if isinstance(type_text, str) else type_text,
            loss=None if loss is None else loss_from(loss, target_type),
            optimizer=optimizer,
            backend=backend,
            seed=self.seed,
            threads=threads,
        )

    # -- training ----------------------------------------------------------------------------------

    def step(self, x: Any, y: Any) -> float:
        """One training step on one batch of any size; returns its loss.

        Raises GraphcError for arrays that do not fit, labels out of range, and a loss that is not
        finite; in each case nothing has changed.
        """
        engine = self._engine
        kind, targets = engine.checked(y)
        loss, _ = engine.advance(kind, x, targets)
        if not math.isfinite(loss):
            wrong = engine.storage.not_finite()
            raise GraphcError(
                f"the loss is {loss} at step {engine.steps + 1}: "
                + (f"{wrong!r} is not finite" if wrong else "the step has changed nothing"),
                remedy="lower the learning rate, or look for nan or very large values in the data",
            )
        return loss

    def fit(
        self,
        train: Dataset | tuple[Any, Any],
        epochs: int = 10,
        batch_size: int = 64,
        validation: Dataset | tuple[Any, Any] | None = None,
        seed: int | None = None,
        progress: Progress | str | None = "auto",
    ) -> History:
        """Trains on every sample once an epoch, shuffled anew each time.

        train, validation: a `Dataset` or a pair of arrays; a last smaller batch is used. seed: of
        the shuffling, the model's by default. progress: "auto" (a live bar on a terminal, one line
        an epoch elsewhere), "bar", "lines", None (silent), or a `Progress`. Ctrl-C ends it with the
        weights of the last finished step and ``history.interrupted`` set. Raises GraphcError for
        data that does not fit and for a loss that is not finite (with the last good weights kept).
        """
        self._engine.graph("train")
        return fit(
            self._engine,
            Dataset.of(train),
            None if validation is None else Dataset.of(validation),
            epochs=epochs,
            batch_size=batch_size,
            seed=self.seed if seed is None else _checked_seed(seed),
            progress=progress_from(progress),
            evaluate=self.evaluate,
        )

    # -- prediction --------------------------------------------------------------------------------

    def predict(self, x: Any) -> Any:
        """The network's output (a tuple if there are several) for a batch of any size."""
        session = self._engine.session("forward")
        results = [session(part) for part in self._parts(np.asarray(x))]
        joined = results[0]
        if len(results) > 1:
            joined = tuple(np.concatenate(parts) for parts in zip(*results, strict=True))
        return joined[0] if len(joined) == 1 else joined

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """{"loss": mean over the samples, "accuracy": share classified right}, in evaluation mode.

        The accuracy is there if the loss classifies. Raises GraphcError without a loss, and for
        arrays that do not fit.
        """
        engine = self._engine
        kind, targets = engine.checked(y)
        data = Dataset(x, targets)
        session = engine.session(f"evaluate{kind}")
        total, scores = 0.0, []
        parts = zip(self._parts(data.x), self._parts(data.y), strict=True)
        for samples, expected in parts:
            loss, *outputs = session(samples, expected)
            total += float(loss) * len(samples)
            scores.append(outputs[0])
        found = {"loss": total / len(data)}
        if engine.classifies:
            found["accuracy"] = accuracy(np.concatenate(scores), data.y)
        return found

    def _parts(self, array: Array) -> list[Array]:
        """`array` in batches of bounded size, so that memory does not grow with the data."""
        forward = self._engine.graphs["forward"]
        batched = all(node.tensor.batch_axis == 0 for node in (forward.inputs[0], *forward.outputs))
        if not batched or array.ndim == 0 or len(array) <= LARGEST_BATCH:
            return [array]
        return [array[k : k + LARGEST_BATCH] for k in range(0, len(array), LARGEST_BATCH)]

    # -- what it holds -----------------------------------------------------------------------------

    @property
    def params(self) -> dict[str, Array]:
        """Parameters and running averages by name, in PyTorch's names and layouts.

        The arrays are the model's own: what is written into them is used by the next step.
        """
        return {name: self._engine.storage.arrays[name] for name in self._engine.exported}

    def load_params(self, mapping: Mapping[str, Any]) -> None:
        """Copies arrays into the parameters of the same names, such as a PyTorch state_dict.

        Raises GraphcError for names that are missing or unknown and for shapes that differ; then
        nothing has changed.
        """
        own = self.params
        given = {
            name: np.asarray(value)
            for name, value in mapping.items()
            if not name.endswith(IGNORED_SUFFIX)
        }
        for complaint, names in (
            ("has no parameters named", given.keys() - own.keys()),
            ("needs parameters that were not given:", own.keys() - given.keys()),
        ):
            if names:
                raise GraphcError(
                    f"the model {complaint} {', '.join(sorted(names))}",
                    remedy="its parameters: " + ", ".join(own),
                )
        for name, array in given.items():
            if array.shape != own[name].shape or array.dtype.kind not in "fiu":
                raise GraphcError(
                    f"{name!r} is {array.dtype}{list(array.shape)}, "
                    f"the model needs {own[name].dtype}{list(own[name].shape)}",
                    remedy="give numbers of that shape",
                )
        for name, array in given.items():
            own[name][...] = array

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes parameters, running averages and the forward graph to one safetensors file.

        The file is complete or as it was before. Raises GraphcError if it cannot be written.
        """
        checkpoint.write(path, self.params, str(self.graphs["forward"]))

    @property
    def graphs(self) -> dict[str, Graph]:
        """The graphs built so far: "forward", and "train" if the model trains."""
        return dict(self._engine.graphs)

    def executable(self, name: str = "forward") -> Executable:
        """The compiled graph of that name: "forward", "train" or "evaluate"."""
        return self._engine.executable(name)

    def report(self) -> dict[str, Any]:
        """What compiling has cost so far, summed over everything that has run.

        "phases": seconds by phase of the compiler. "planned_bytes": of the arenas in which what is
        computed on the way lives.
        """
        reports = [e.runner.report() for e in self._engine.executables.values()]
        phases: dict[str, float] = {}
        for report in reports:
            for phase, seconds in report["phases"].items():
                phases[phase] = phases.get(phase, 0.0) + seconds
        return {"phases": phases, "planned_bytes": sum(r["planned_bytes"] for r in reports)}


def load(path: str | os.PathLike[str], backend: str = "llvm", threads: int | None = None) -> Model:
    """The model that `Model.save` wrote to `path`, to predict with.

    Nothing in the file is executed. Raises GraphcError if it is absent, truncated or foreign.
    """
    text, tensors = checkpoint.read(path)
    try:
        model = Model(parse(text), backend=backend, threads=threads)
        model.load_params(tensors)
    except GraphcError as error:
        raise error.within(f"the file {str(path)!r}") from error.__cause__
    return model


def _check_network(net: object, type_text: object, loss: object) -> None:
    if isinstance(net, Graph):
        data = [i for i in net.inputs if i.attrs["kind"] == "data"]
        if loss is not None or len(data) != 1:
            raise GraphcError(
                f"a model of a graph with {len(data)} data inputs"
                + (" and a loss" if loss is not None else ""),
                remedy="a graph of one data input can predict; to train, give the network itself",
            )
        return
    if isinstance(net, type) or not callable(net):
        shown = f"the class {net.__name__}" if isinstance(net, type) else repr(net)
        raise GraphcError(
            f"{shown} is not a network", remedy="give a module, or a function of a traced tensor"
        )
    if not isinstance(type_text, str | TensorType):
        raise GraphcError(
            f"the type of the input is {type_text!r}", remedy='give for example "f32[N,1,32,32]"'
        )


def _checked_seed(seed: int) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise GraphcError(f"seed {seed!r}", remedy="give a whole number of at least 0")
    return seed
