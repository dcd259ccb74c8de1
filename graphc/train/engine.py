"""The engine of a model: its graphs, the memory they share, and their compiled sessions.

Graphs are built when the model is, so that what does not fit is said at once; a graph is compiled
when it first runs. Parameters are drawn from the seed in the order in which the network uses them.
Knows no files, no epochs and no progress.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.compiler import compile
from graphc.ir.graph import Graph
from graphc.ir.types import TensorType
from graphc.runtime.backend import load_backend
from graphc.runtime.executable import Executable, Session
from graphc.tracing.trace import Initializer, Traced, trace_callable
from graphc.train.graphs import LEARNING_RATE, evaluation_graph, training_graph
from graphc.train.losses import Loss
from graphc.train.optim import Optimizer
from graphc.train.storage import Storage

Array = np.ndarray[Any, Any]
RANDOM_KEY = "random_key"


class Engine:
    """A network compiled for prediction and, given a loss and an optimiser, for training.

    network: a callable on traced tensors, or a forward graph (whose parameters then start at zero).
    storage: all parameters and states. steps: training steps done. exported: names of what belongs
    to the network itself (parameters, running averages), in order.
    """

    def __init__(
        self,
        network: Callable[..., Any] | Graph,
        type: TensorType | None,
        *,
        loss: Loss | None,
        optimizer: Optimizer | None,
        backend: str,
        seed: int,
        threads: int | None,
    ) -> None:
        load_backend(backend)
        self.loss = loss
        self.optimizer = optimizer
        self.backend = backend
        self.threads = threads
        self.steps = 0
        self.graphs: dict[str, Graph] = {}
        self.executables: dict[str, Executable] = {}
        self._sessions: dict[str, Session] = {}
        self._traced: Traced | None = None
        drawn: dict[str, tuple[TensorType, Initializer | None]] = {}
        if isinstance(network, Graph):
            self.graphs["forward"] = network
            for node in network.inputs:
                if node.attrs["kind"] != "data":
                    drawn[node.attrs["name"]] = (node.tensor, None)
        else:
            assert type is not None
            traces = [trace_callable(network, [type], training=False)]
            self.graphs["forward"] = traces[0].graph("forward")
            if optimizer is not None:
                self._traced = trace_callable(network, [type], training=True)
                traces.append(self._traced)
            tables = [t.trace.parameters for t in traces] + [t.trace.states for t in traces]
            for table in tables:
                for name, (node, initializer) in table.items():
                    drawn.setdefault(name, (node.tensor, initializer))
        self.exported = [name for name in drawn if name != RANDOM_KEY]
        if loss is not None:
            loss.target_type(self.graphs["forward"].outputs, "")
        if optimizer is not None:
            for node in self.graph("train").inputs:
                if node.attrs["kind"] != "data":
                    drawn.setdefault(node.attrs["name"], (node.tensor, None))
        self.storage = Storage({name: type for name, (type, _) in drawn.items()})
        _draw(self.storage, {name: initializer for name, (_, initializer) in drawn.items()}, seed)
        self._rate = self._constant_rate()

    def graph(self, name: str) -> Graph:
        """The graph "forward", "train" or "evaluate", or the last two with the kind of target."""
        if name in self.graphs:
            return self.graphs[name]
        task, _, kind = name.partition("_")
        kind = f"_{kind}" if kind else ""
        loss = self._loss()
        if task == "evaluate":
            self.graphs[name] = evaluation_graph(self.graphs["forward"], loss, kind)
            return self.graphs[name]
        if self.optimizer is None or self._traced is None:
            raise GraphcError(
                "the model has no optimizer",
                remedy="give gc.Model an optimizer, say optimizer=optim.SGD(0.05, momentum=0.9)",
            )
        self.graphs[name] = training_graph(self._traced, loss, self.optimizer, kind)
        return self.graphs[name]

    def executable(self, name: str) -> Executable:
        """The compiled graph of that name; compiled the first time it is asked for."""
        if name not in self.executables:
            self.executables[name] = compile(self.graph(name), self.backend, self.threads)
        return self.executables[name]

    def session(self, name: str) -> Session:
        """The compiled graph of that name, bound to the storage."""
        found = self._sessions.get(name)
        if found is None:
            found = self._sessions[name] = self.executable(name).bind(self.storage.arrays)
        return found

    def advance(self, kind: str, x: Any, target: Any) -> tuple[float, Array | None]:
        """One training step on checked targets.

        Returns the loss and, if the loss classifies, the scores. If the loss is not finite nothing
        has changed and the step does not count.
        """
        session = self._sessions.get(f"train{kind}") or self.session(f"train{kind}")
        rate = self._rate if self._rate is not None else self._scheduled_rate()
        results = session(x, target, rate)
        loss = float(results[0])
        if math.isfinite(loss):
            self.steps += 1
        return loss, results[1] if len(results) > 1 else None

    def checked(self, y: Any) -> tuple[str, Any]:
        """(kind, targets) for what the user fed.

        Raises GraphcError without a loss and for targets that do not fit.
        """
        return self._loss().checked(y, self.graphs["forward"].outputs)

    @property
    def classifies(self) -> bool:
        """Whether accuracy has a meaning."""
        return self.loss is not None and self.loss.classifies

    def _loss(self) -> Loss:
        if self.loss is None:
            raise GraphcError(
                "the model has no loss", remedy='give gc.Model a loss, say loss="cross_entropy"'
            )
        return self.loss

    def _constant_rate(self) -> Array | None:
        """The learning rate as an array, if it does not depend on the step."""
        if self.optimizer is None or callable(self.optimizer.lr):
            return None
        return self._rate_array(self.optimizer.rate(0))

    def _scheduled_rate(self) -> Array:
        assert self.optimizer is not None
        return self._rate_array(self.optimizer.rate(self.steps))

    def _rate_array(self, rate: float) -> Array:
        dtype = self.graph("train").input_named(LEARNING_RATE).tensor.dtype
        return np.asarray(rate, dtype.numpy)


def _draw(storage: Storage, initializers: dict[str, Initializer | None], seed: int) -> None:
    """Fills the storage from the seed; what has no initialiser stays zero."""
    generator = np.random.default_rng(seed)
    for name, initializer in initializers.items():
        array = storage.arrays[name]
        if initializer is None:
            continue
        value = np.asarray(initializer(array.shape, generator))
        if value.shape != array.shape:
            raise GraphcError(
                f"the initialiser of {name!r} returned shape {list(value.shape)}, "
                f"not {list(array.shape)}",
                remedy="return an array of the shape it is given",
            )
        array[...] = value
