"""`Model`: a network that predicts and trains, as ``graphc.Model``; and ``graphc.load``.

This is the facade that users hold: it checks what they give and hands on to the engine (graphs,
memory, compiled code), the fit loop and the checkpoint. It knows no layers and no backend.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_whole
from graphc.base.display import Displayed
from graphc.base.errors import GraphcError
from graphc.inspect.memory import step_memory
from graphc.inspect.summary import Summary, summary
from graphc.ir.graph import Graph
from graphc.ir.text import parse
from graphc.ir.types import TensorType, parse_type
from graphc.runtime.executable import Executable
from graphc.runtime.profile import Profile
from graphc.train import model_file
from graphc.train.batches import in_parts, is_batch
from graphc.train.dataset import Dataset
from graphc.train.early_stopping import EarlyStopping
from graphc.train.engine import Engine
from graphc.train.fit import Augment, Plan, fit
from graphc.train.graphs import StepOptions
from graphc.train.history import History
from graphc.train.logs import Log, with_log
from graphc.train.losses import Loss, TargetType, loss_from
from graphc.train.metrics import accuracy
from graphc.train.optim import Groups, Optimizer
from graphc.train.parameters import LoadReport, load_into, matching
from graphc.train.profiling import profile
from graphc.train.progress import Progress, progress_from
from graphc.train.replay import TrainingForm

Array = np.ndarray[Any, Any]
InputType = str | TensorType | Sequence[str | TensorType] | None


class Model(Displayed):
    """A network compiled to predict and, given a loss and an optimiser, to train.

    net: a network (`graphc.nn`), any callable on traced tensors, or a graph (to predict only).
    input_type: the type of its input, such as "f32[N,1,32,32]", or a tuple of types for several
    inputs; x is then a tuple of arrays. loss: "cross_entropy" (logits [N,classes] against class
    numbers i32[N] or probabilities) or another name, a loss of `graphc.losses`, or a function of
    (output, target) on traced tensors, with target_type such as "f32[N,10]"; several targets have a
    tuple of types, and y is then a tuple of arrays. optimizer: from `graphc.optim`. seed: of the
    initial weights and of dropout. threads: all cores by default.

    frozen: patterns of parameter names, such as "0.*": those are not trained. clip_norm: all
    gradients are scaled so that together they have at most this norm. clip_value: each element of a
    gradient is put into +-clip_value. accumulate: how many batches one update averages over.
    precision: of products, as for `compile`: by default the backend's own; "bf16" for mixed
    precision. Sums, parameters and the optimiser's state stay f32. check_nans: a step or a
    prediction that is not finite raises an error naming the first node that was not.
    Raises GraphcError for anything that does not fit.
    """

    def __init__(
        self,
        net: Callable[..., Any] | Graph,
        input_type: InputType = None,
        loss: str | Loss | Callable[..., Any] | None = None,
        optimizer: Optimizer | Groups | None = None,
        backend: str = "llvm",
        seed: int = 0,
        threads: int | None = None,
        *,
        target_type: TargetType = None,
        frozen: Sequence[str] = (),
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        precision: str | None = None,
        check_nans: bool = False,
    ) -> None:
        types = _checked_network(net, input_type, loss)
        if not isinstance(optimizer, Optimizer | Groups | None):
            raise GraphcError(
                f"{optimizer!r} is not an optimizer", remedy="give optim.SGD(0.05), for example"
            )
        if optimizer is not None and loss is None:
            raise GraphcError("an optimizer without a loss", remedy='give loss="cross_entropy"')
        check_whole("seed", seed, 0)
        self.seed = seed
        self._engine = Engine(
            net,
            types,
            loss=None if loss is None else loss_from(loss, target_type),
            optimizer=optimizer,
            backend=backend,
            seed=self.seed,
            threads=threads,
            precision=precision,
            options=StepOptions(clip_norm=clip_norm, clip_value=clip_value, accumulate=accumulate),
            frozen=_patterns(frozen),
            check_nans=check_nans,
        )
        self._data = [i for i in self.graphs["forward"].inputs if i.attrs["kind"] == "data"]

    # -- training ----------------------------------------------------------------------------------

    def step(self, x: Any, y: Any) -> float:
        """One training step on one batch of any size; returns its loss.

        With `accumulate` every so many steps update the parameters. Raises GraphcError for arrays
        that do not fit, labels out of range, and a loss that is not finite; in each case nothing
        has changed.
        """
        engine = self._engine
        kind, targets = engine.checked(y)
        loss, _ = engine.advance(kind, self._inputs(x), targets)
        if not math.isfinite(loss):
            wrong = engine.not_finite()
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
        *,
        log: Log = None,
        augment: Augment | None = None,
        early_stopping: EarlyStopping | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
    ) -> History:
        """Trains on every sample once an epoch, shuffled anew each time.

        train, validation: a `Dataset` or a pair (x, y); a last smaller batch is used. seed: of the
        shuffling and the augmentation, the model's by default; equal seeds give equal orders, in a
        second call too. progress: "auto" (a live bar on a terminal, one line an epoch elsewhere),
        "bar", "lines", None (silent), or a `Progress`. log: a file such as "run.jsonl" that gets a
        JSON object a line for each epoch, or a folder for TensorBoard's event files, or a
        `Progress`, or several of these.

        augment: ``augment(x, generator)`` gives what is trained on instead of x, a batch as the
        data set has it. early_stopping: an `EarlyStopping`. checkpoint: a file that training is
        saved to, after every epoch or after `checkpoint_every` steps, and when it ends. resume: go
        on from that file; if it does not exist, training begins anew. A training that was resumed
        gives the same bits as one that was never interrupted.

        Ctrl-C ends it with the weights of the last finished step and ``history.interrupted`` set.
        Raises GraphcError for data that does not fit, for a loss that is not finite (with the last
        good weights kept), and for a checkpoint that cannot be written, read, or does not belong to
        this training.
        """
        self._engine.graph("train")
        seed = self.seed if seed is None else seed
        check_whole("seed", seed, 0)
        return fit(
            self._engine,
            Dataset.of(train),
            None if validation is None else Dataset.of(validation),
            Plan(
                epochs=epochs,
                batch_size=batch_size,
                seed=seed,
                progress=with_log(progress_from(progress), log),
                augment=augment,
                early_stopping=early_stopping,
                checkpoint=checkpoint,
                checkpoint_every=checkpoint_every,
                resume=resume,
            ),
            self.evaluate,
        )

    @property
    def steps(self) -> int:
        """Training steps done so far; one whose loss was not finite is none."""
        return self._engine.steps

    @property
    def frozen(self) -> tuple[str, ...]:
        """The names of the parameters that are not trained."""
        frozen = self._engine.options.frozen
        return tuple(name for name in self._engine.parameters if name in frozen)

    def freeze(self, *patterns: str) -> None:
        """Trains the parameters that `patterns` mean no longer: no gradient is computed for them.

        "0.*" means "0.weight" and "0.bias". Running averages still follow the data. What the
        optimiser has kept (momentum, accumulated gradients) starts at zero again, schedules go on.
        Raises GraphcError for a pattern that means nothing, and if no parameter is left to train.
        """
        engine = self._engine
        engine.graph("train")
        engine.set_frozen(engine.options.frozen | matching(patterns, engine.parameters, "freeze"))

    def unfreeze(self, *patterns: str) -> None:
        """Trains the parameters that `patterns` mean again; the contrary of `freeze`."""
        engine = self._engine
        engine.graph("train")
        engine.set_frozen(engine.options.frozen - matching(patterns, engine.parameters, "unfreeze"))

    # -- prediction --------------------------------------------------------------------------------

    def predict(self, x: Any) -> Any:
        """The network's output (a tuple if there are several) for a batch of any size."""
        session = self._engine.session("forward")
        arrays = [as_numbers("the input", a) for a in self._inputs(x)]
        parts = in_parts(arrays, self._data, self.graphs["forward"])
        results = [session(*part) for part in parts]
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
        graph = engine.graph(f"evaluate{kind}")
        session = engine.session(f"evaluate{kind}")
        arrays = [as_numbers("the input", a) for a in (*self._inputs(x), *targets)]
        fed = [node for node in graph.inputs if node.attrs["kind"] == "data"]
        total, samples, scores = 0.0, 0, []
        for part in in_parts(arrays, fed, self.graphs["forward"]):
            loss, *outputs = session(*part)
            count = next((len(a) for a, i in zip(part, fed, strict=True) if is_batch(i)), 1)
            total += float(loss) * count
            samples += count
            scores.append(outputs[0])
        found = {"loss": total / samples}
        if engine.classifies:
            found["accuracy"] = accuracy(np.concatenate(scores), targets[0])
        return found

    def _inputs(self, x: Any) -> tuple[Any, ...]:
        """What the user fed, one for each input of the network."""
        found = x if isinstance(x, tuple) else (x,)
        if len(found) != len(self._data):
            names = ", ".join(f"{i.attrs['name']} {i.tensor}" for i in self._data)
            raise GraphcError(
                f"{len(found)} arrays for a network of {len(self._data)} inputs",
                remedy=f"give an array, or a tuple of arrays, for: {names}",
            )
        return found

    def profile(self, x: Any, y: Any = None) -> Profile:
        """Where the time goes, kernel by kernel, in one training step on (x, y), or in one
        prediction for x if y is left out. Printed, it is a table that names lines of your files.

        The model is afterwards what it was. Raises GraphcError for arrays that do not fit, and for
        a backend that does not time kernels.
        """
        return profile(self._engine, self._inputs(x), y)

    # -- models of rewritten networks --------------------------------------------------------------

    @property
    def training_form(self) -> TrainingForm | None:
        """The network in training, as a graph that passes rewrite; None if it does not train."""
        traced = self._engine.traced
        return None if traced is None else TrainingForm.of(traced)

    def with_network(
        self,
        net: Callable[..., Any],
        *,
        optimizer: Optimizer | Groups | None = None,
        frozen: Sequence[str] = (),
    ) -> Model:
        """A model of another network of the same inputs: loss, backend, seed and options are this
        model's, and so is the optimiser if none is given.

        Raises GraphcError if they do not fit the network.
        """
        engine = self._engine
        return Model(
            net,
            [node.tensor for node in self._data],
            engine.loss,
            optimizer or engine.optimizer,
            engine.backend,
            self.seed,
            engine.threads,
            frozen=frozen,
            clip_norm=engine.options.clip_norm,
            clip_value=engine.options.clip_value,
            accumulate=engine.options.accumulate,
            precision=engine.precision,
            check_nans=engine.check_nans,
        )

    # -- what it holds -----------------------------------------------------------------------------

    @property
    def params(self) -> dict[str, Array]:
        """Parameters and running averages by name, in PyTorch's names and layouts.

        The arrays are the model's own: what is written into them is used by the next step. Once
        they have been asked for, they stay row-major, and `predict` computes anew at each call what
        depends on parameters alone (weights in blocks), for nobody says when they change.
        """
        return self._engine.expose()

    def load_params(self, mapping: Mapping[str, Any], *, strict: bool = True) -> LoadReport:
        """Copies arrays into the parameters of the same names, such as a PyTorch state_dict.

        strict: every parameter must be given, with its shape, and nothing else. Otherwise what fits
        by name and shape is copied, as for a new head on a trained network; the report says what
        became of the rest. Raises GraphcError for what is not strict, for arrays that hold no
        numbers, and if nothing fits; then nothing has changed.
        """
        own = {name: self._engine.arrays[name] for name in self._engine.exported}
        try:
            return load_into(own, mapping, strict=strict)
        finally:
            self._engine.version += 1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the forward graph and what it holds (parameters, running averages) to a
        safetensors file.

        The file is complete or as it was before. Raises GraphcError if it cannot be written.
        """
        graph = self.graphs["forward"]
        held = [i.attrs["name"] for i in graph.inputs if i.attrs["kind"] != "data"]
        model_file.write(path, {name: self._engine.arrays[name] for name in held}, str(graph))

    @property
    def graphs(self) -> dict[str, Graph]:
        """The graphs built so far: "forward", and "train" if the model trains."""
        return dict(self._engine.graphs)

    def executable(self, name: str = "forward") -> Executable:
        """The compiled graph of that name: "forward", "train" or "evaluate"."""
        return self._engine.executable(name)

    def summary(self, batch: int = 1) -> Summary:
        """A row for each layer: its result, parameters, FLOPs, receptive field, and the bytes of
        its activations and gradients in a training step (in a prediction, if the model does not
        train) with a batch of that size.
        """
        engine, forward = self._engine, self.graphs["forward"]
        memory = step_memory(
            self.graphs.get("train", forward),
            batch,
            precision=engine.precision,
            packed=not engine.exposed,
        )
        return summary(forward, memory=memory)

    def report(self) -> dict[str, Any]:
        """What compiling has cost so far, summed over everything that has run.

        "phases": seconds by phase of the compiler. "planned_bytes": of the arenas in which what is
        computed on the way lives: each graph that has run has one, as its largest batch needs it.
        What a step takes in all says ``summary(batch).memory``.
        """
        reports = [e.runner.report() for e in self._engine.executables.values()]
        phases: dict[str, float] = {}
        for report in reports:
            for phase, seconds in report["phases"].items():
                phases[phase] = phases.get(phase, 0.0) + seconds
        return {"phases": phases, "planned_bytes": sum(r["planned_bytes"] for r in reports)}


def load(
    path: str | os.PathLike[str],
    backend: str = "llvm",
    threads: int | None = None,
    precision: str | None = None,
) -> Model:
    """The model that `Model.save` wrote to `path`, or the network of a checkpoint, to predict with.

    Nothing in the file is executed. Raises GraphcError if it is absent, damaged or foreign.
    """
    text, tensors, training = model_file.read(path)
    try:
        model = Model(parse(text), backend=backend, threads=threads, precision=precision)
        if training is not None:
            tensors = {name: a for name, a in tensors.items() if name in model._engine.exported}
        model.load_params(tensors)
    except GraphcError as error:
        raise error.within(f"the file {str(path)!r}") from error.__cause__
    return model


def _checked_network(net: object, input_type: InputType, loss: object) -> tuple[TensorType, ...]:
    """The types of the inputs; of a graph, none. Raises GraphcError for what is no network."""
    if isinstance(net, Graph):
        data = [i for i in net.inputs if i.attrs["kind"] == "data"]
        if loss is not None or not data:
            raise GraphcError(
                f"a model of a graph with {len(data)} data inputs"
                + (" and a loss" if loss is not None else ""),
                remedy="a graph of data inputs can predict; to train, give the network itself",
            )
        return ()
    if isinstance(net, type) or not callable(net):
        shown = f"the class {net.__name__}" if isinstance(net, type) else repr(net)
        raise GraphcError(
            f"{shown} is not a network", remedy="give a module, or a function of a traced tensor"
        )
    types = input_type if isinstance(input_type, tuple | list) else (input_type,)
    if not types or not all(isinstance(t, str | TensorType) for t in types):
        raise GraphcError(
            f"the type of the input is {input_type!r}",
            remedy='give for example "f32[N,1,32,32]", or a tuple of such for several inputs',
        )
    return tuple(parse_type(t) if isinstance(t, str) else t for t in types)


def _patterns(frozen: object) -> Sequence[str]:
    if isinstance(frozen, tuple | list):
        return frozen
    raise GraphcError(f"frozen {frozen!r}", remedy='give a tuple of patterns, as ("0.*",)')
