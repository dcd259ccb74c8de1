"""The engine of a model: its graphs, the memory they share, and their compiled sessions.

Graphs are built when the model is, so that what does not fit is said at once; a graph is compiled
when it first runs. Parameters are drawn from the seed in the order in which the network uses them.
Knows no files, no epochs and no progress.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.compiler import check_arrays, compile
from graphc.ir.graph import Graph
from graphc.ir.types import TensorType
from graphc.runtime.backend import load_backend
from graphc.runtime.executable import Executable, Session
from graphc.runtime.kept import Kept
from graphc.tracing.trace import RANDOM_KEY, Initializer, Traced, trace_callable
from graphc.train.graphs import LEARNING_RATE, StepOptions, evaluation_graph, training_graph
from graphc.train.losses import Loss
from graphc.train.optim import Groups, Optimizer
from graphc.train.parameters import matching
from graphc.train.rates import Rates, with_own_schedules
from graphc.train.storage import Storage

Array = np.ndarray[Any, Any]
Held = dict[str, tuple[TensorType, Initializer | None]]
Snapshot = tuple[Array, Array, tuple[int, int, int]]
APPLY, HOLD = (np.asarray(True),), (np.asarray(False),)


class Engine:
    """A network compiled for prediction and, given a loss and an optimiser, for training.

    network: a callable on traced tensors, or a forward graph (whose parameters then start at zero).
    types: of its inputs. frozen: patterns of the parameters that are not trained.
    exported: names of what belongs to the network itself (parameters, running averages), in order.
    traced: the network in training, if it trains. steps: training steps done, and updates: those of
    the optimiser among them. pending: steps since the last update.
    """

    def __init__(
        self,
        network: Callable[..., Any] | Graph,
        types: Sequence[TensorType],
        *,
        loss: Loss | None,
        optimizer: Optimizer | Groups | None,
        backend: str,
        seed: int,
        threads: int | None,
        precision: str | None,
        options: StepOptions,
        frozen: Sequence[str] = (),
        check_nans: bool = False,
    ) -> None:
        self.loss = loss
        self.optimizer = optimizer
        self.backend = backend
        self.threads = threads
        self.precision = load_backend(backend).check_precision(precision)
        self.check_nans = check_nans
        self.options = options
        self.steps = self.updates = self.pending = 0
        self.version = 0  # counts changes of the arrays
        self.exposed = False  # whether someone outside may write into them
        self.graphs: dict[str, Graph] = {}
        self.executables: dict[str, Executable] = {}
        self._sessions: dict[str, Session] = {}
        self._training_sessions: dict[str, Session] = {}  # by kind of target: found without delay
        self.traced: Traced | None = None
        held = self._trace(network, types)
        check_arrays(self.graphs["forward"])
        self.exported = [name for name in held if name != RANDOM_KEY]
        if loss is not None:
            loss.target_types(self.graphs["forward"].outputs, "")
        self.network = Storage({name: type for name, (type, _) in held.items()})
        self.training = Storage({})
        self._kept = Kept(self.network.arrays)
        if optimizer is not None:
            if isinstance(optimizer, Groups):
                matching(optimizer.patterns, self.parameters, "Groups")
            self._stepped = with_own_schedules(optimizer)
            self.set_frozen(matching(frozen, self.parameters, "frozen"))
        elif frozen or options != StepOptions():
            raise self._no_optimizer()
        _draw(self.arrays, {name: initializer for name, (_, initializer) in held.items()}, seed)

    def _trace(self, network: Callable[..., Any] | Graph, types: Sequence[TensorType]) -> Held:
        """Builds the forward graph; returns what the network holds and how it begins."""
        if isinstance(network, Graph):
            self.graphs["forward"] = network
            kept = [node for node in network.inputs if node.attrs["kind"] != "data"]
            return {node.attrs["name"]: (node.tensor, None) for node in kept}
        traces = [trace_callable(network, types, training=False)]
        self.graphs["forward"] = traces[0].graph("forward")
        if self.optimizer is not None:
            self.traced = trace_callable(network, types, training=True)
            traces.append(self.traced)
        held: Held = {}
        for table in [t.trace.parameters for t in traces] + [t.trace.states for t in traces]:
            for name, (node, initializer) in table.items():
                held.setdefault(name, (node.tensor, initializer))
        return held

    # -- graphs and what is compiled from them -----------------------------------------------------

    def graph(self, name: str) -> Graph:
        """The graph "forward", "train" or "evaluate", or the last two with the kind of target."""
        if name in self.graphs:
            return self.graphs[name]
        task, underscore, rest = name.partition("_")
        kind = underscore + rest
        if task == "evaluate":
            built = evaluation_graph(self.graphs["forward"], self._loss(), kind)
        elif task == "train":
            built = self._training_graph(kind, self.options)
        else:
            raise GraphcError(
                f"a model has no graph {name!r}", remedy="graphs: forward, train, evaluate"
            )
        self.graphs[name] = built
        return built

    def executable(self, name: str) -> Executable:
        """The compiled graph of that name; compiled the first time it is asked for."""
        if name not in self.executables:
            self.executables[name] = compile(
                self.graph(name),
                self.backend,
                self.threads,
                self.precision,
                check_nans=self.check_nans,
            )
            self.executables[name].pack(not self.exposed)
        return self.executables[name]

    def session(self, name: str) -> Session:
        """The compiled graph of that name, bound to the arrays."""
        found = self._sessions.get(name)
        if found is None:
            found = self._sessions[name] = self.executable(name).bind(self._kept, self._token)
        return found

    def _token(self) -> int | None:
        """A number that tells the arrays as they are from what they were; None if nobody knows."""
        return None if self.exposed else self.version

    @property
    def arrays(self) -> dict[str, Array]:
        """All parameters and states, by name; row-major until the next step."""
        return self._kept.row_major()

    def expose(self) -> dict[str, Array]:
        """What belongs to the network itself, for somebody who may read or write it at any time:
        from now on it stays row-major.
        """
        if not self.exposed:
            with self._kept.lock:
                self.exposed = True
                for executable in self.executables.values():
                    executable.pack(False)
        arrays = self.arrays
        return {name: arrays[name] for name in self.exported}

    def write(self, values: Mapping[str, Array]) -> None:
        """Copies values into the arrays of the same names."""
        arrays = self.arrays
        for name, value in values.items():
            arrays[name][...] = value
        self.version += 1

    def _training_graph(self, kind: str, options: StepOptions) -> Graph:
        loss = self._loss()
        if self.optimizer is None or self.traced is None:
            raise self._no_optimizer()
        return training_graph(self.traced, loss, self.optimizer, kind, options)

    # -- training ----------------------------------------------------------------------------------

    def advance(
        self, kind: str, inputs: Sequence[Any], targets: Sequence[Any], *, last: bool = False
    ) -> tuple[float, Array | None]:
        """One training step on checked targets.

        last: the optimiser updates even if more batches could still be accumulated. Returns the
        loss and, if the loss classifies, the scores. If the loss is not finite nothing has changed
        and the step does not count.
        """
        return self.begin(kind, inputs, targets, last=last)()

    def begin(
        self, kind: str, inputs: Sequence[Any], targets: Sequence[Any], *, last: bool = False
    ) -> Callable[[], tuple[float, Array | None]]:
        """Begins `advance`; what it returns waits for what that returns. The step counts at once,
        and no more once its loss is known not to be finite.
        """
        session = self._training_sessions.get(kind) or self._training_session(kind)
        rates = self.rates.constant or self.rates(self.updates)
        applies = True
        if self.options.accumulate > 1:
            applies = last or self.pending + 1 >= self.options.accumulate
            rates += APPLY if applies else HOLD
        self.version += 1
        results, pending = session.start(*inputs, *targets, *rates), self.pending
        self.steps += 1
        self.updates += applies
        self.pending = 0 if applies else pending + 1

        def finish() -> tuple[float, Array | None]:
            found = results()
            loss = float(found[0])
            if not math.isfinite(loss):
                self.steps -= 1
                self.updates -= applies
                self.pending = pending
            return loss, found[1] if len(found) > 1 else None

        return finish

    def ahead(self, kind: str) -> int:
        """How many steps it is worth to begin before the loss of an earlier one is read."""
        if self.options.accumulate > 1:  # what is pending is not known before
            return 0
        return self.executable(f"train{kind}").runner.ahead

    def _training_session(self, kind: str) -> Session:
        found = self._training_sessions[kind] = self.session(f"train{kind}")
        return found

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that training could change, in order."""
        return [] if self.traced is None else list(self.traced.trace.parameters)

    def set_frozen(self, names: frozenset[str]) -> None:
        """Trains the other parameters from now on; what the optimiser kept starts at zero again.

        Raises GraphcError if none is left; then nothing has changed.
        """
        options = replace(self.options, frozen=names)
        graph = self._training_graph("", options)
        kept = {
            node.attrs["name"]: node.tensor
            for node in graph.inputs
            if node.attrs["kind"] != "data" and node.attrs["name"] not in self.network.arrays
        }
        trained = [name for name in self.parameters if name not in names]
        dtype = next(
            i.tensor.dtype for i in graph.inputs if i.attrs["name"].startswith(LEARNING_RATE)
        )
        rates = Rates(self._stepped.groups(trained), dtype.numpy)
        self.options, self.rates, self.pending = options, rates, 0
        self.training = Storage(kept)
        self._kept.replace(self.network.arrays | self.training.arrays)
        for table in (self.graphs, self.executables, self._sessions):
            for name in [name for name in table if name.startswith("train")]:
                del table[name]
        self._training_sessions.clear()
        self.graphs["train"] = graph

    # -- targets -----------------------------------------------------------------------------------

    def checked(self, y: Any) -> tuple[str, tuple[Array, ...]]:
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

    def _no_optimizer(self) -> GraphcError:
        return GraphcError(
            "the model has no optimizer",
            remedy="give gc.Model an optimizer, say optimizer=optim.SGD(0.05, momentum=0.9)",
        )

    # -- memory ------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """A copy of all parameters, states and counts, for `restore`."""
        self._kept.row_major()
        counts = self.steps, self.updates, self.pending
        return self.network.snapshot(), self.training.snapshot(), counts

    def restore(self, snapshot: Snapshot) -> None:
        """Everything as it was when `snapshot` was taken."""
        network, training, counts = snapshot
        self._kept.row_major()  # as the snapshot is
        self.network.restore(network)
        self.training.restore(training)
        self.version += 1
        self.steps, self.updates, self.pending = counts

    def not_finite(self) -> str | None:
        """The name of a parameter or state that holds nan or infinity; None if all are finite."""
        with self._kept.lock:
            self._kept.recall()
            return self.network.not_finite() or self.training.not_finite()


def _draw(
    arrays: Mapping[str, Array], initializers: Mapping[str, Initializer | None], seed: int
) -> None:
    """Fills the arrays from the seed; what has no initialiser stays zero."""
    generator = np.random.default_rng(seed)
    for name, initializer in initializers.items():
        array = arrays[name]
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
