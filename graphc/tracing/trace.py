"""Tracing: run a callable once on traced tensors and keep what it built: graph, parameters, states.

Whoever owns parameters is an `Owner`; tracing walks owners to name what they own ("3.weight") and
knows no layers.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.base.source import Location, written_at
from graphc.ir.graph import Graph, make_input, topological_order
from graphc.ir.node import Node
from graphc.ir.types import DType, Shape, TensorType, parse_type
from graphc.tracing.tensor import Tensor, recorded

Array = np.ndarray[Any, Any]
Initializer = Callable[[tuple[int, ...], np.random.Generator], Array]
RANDOM_KEY = "random_key"  # the state that all randomness of a network is drawn from


class Owner(ABC):
    """Something that owns parameters and perhaps other owners."""

    @abstractmethod
    def children(self) -> Iterator[tuple[str, Owner]]:
        """The owners inside this one, each with the name it has here.

        What is in an owner without a name ("") is named as if it were in this one.
        """


@dataclass
class Trace:
    """What one tracing run has built so far.

    training: whether layers behave as in training. parameters and states: name -> (node,
    initializer).
    updates: state name -> the node that holds its next value. penalties: scalars that training adds
    to the loss. failed: path, text and line of the innermost layer that raised, if one did.
    """

    training: bool
    paths: dict[int, str]
    parameters: dict[str, tuple[Node, Initializer]] = field(default_factory=dict)
    states: dict[str, tuple[Node, Initializer]] = field(default_factory=dict)
    updates: dict[str, Node] = field(default_factory=dict)
    penalties: list[Node] = field(default_factory=list)
    streams: int = 0
    failed: tuple[str, str, Location | None] | None = None

    def parameter(
        self,
        owner: Owner,
        name: str,
        shape: Shape,
        initializer: Initializer,
        dtype: DType = DType.f32,
    ) -> Tensor:
        """The trained tensor `name` of `owner`; the same one each time it is asked for."""
        return self._held(
            self.parameters, "parameter", owner, name, TensorType(dtype, shape), initializer
        )

    def state(
        self,
        owner: Owner,
        name: str,
        shape: Shape,
        initializer: Initializer,
        dtype: DType = DType.f32,
    ) -> Tensor:
        """A tensor of `owner` that is kept between steps but not trained."""
        return self._held(self.states, "state", owner, name, TensorType(dtype, shape), initializer)

    def found(self, owner: Owner, name: str) -> Tensor | None:
        """The parameter `name` of `owner` if it has been asked for before, for another layer to
        share.
        """
        path = self.paths.get(id(owner))
        held = self.parameters.get(f"{path}.{name}" if path else name)
        return None if path is None or held is None else Tensor(held[0])

    def latest(self, state: Tensor) -> Tensor:
        """`state` after the updates so far: where a layer is used twice, each use counts."""
        updated = self.updates.get(state.node.attrs["name"])
        return state if updated is None else Tensor(updated)

    def update(self, state: Tensor, value: Tensor) -> None:
        """Sets what `state` is after the step."""
        self.updates[state.node.attrs["name"]] = value.node

    def penalty(self, value: Tensor) -> None:
        """Adds a scalar to the loss that is trained on, such as a weight's norm or a sparsity term.

        Raises GraphcError unless `value` is a float scalar.
        """
        if value.shape != () or not value.dtype.is_float:
            raise GraphcError(
                f"a penalty of type {value.type}", remedy="reduce it to a float scalar with sum"
            )
        self.penalties.append(value.node)

    def parameters_of(self, owner: Owner) -> dict[str, Tensor]:
        """The parameters that `owner` and the owners inside it have asked for so far, by name."""
        paths = {self.paths[inner] for inner in _paths(owner) if inner in self.paths}
        return {
            name: Tensor(node)
            for name, (node, _) in self.parameters.items()
            if name.rpartition(".")[0] in paths
        }

    def random_key(self) -> tuple[Tensor, int]:
        """(key, stream) for one use of randomness; the key advances with every training step."""
        if RANDOM_KEY not in self.states:
            node = make_input(RANDOM_KEY, TensorType(DType.i32, ()), "state")
            self.states[RANDOM_KEY] = (
                node,
                lambda shape, rng: np.asarray(rng.integers(0, 2**31), np.int32),
            )
            self.updates[RANDOM_KEY] = (Tensor(node) + 1).node
        self.streams += 1
        return Tensor(self.states[RANDOM_KEY][0]), self.streams - 1

    def _held(
        self,
        table: dict[str, tuple[Node, Initializer]],
        kind: str,
        owner: Owner,
        name: str,
        type: TensorType,
        initializer: Initializer,
    ) -> Tensor:
        path = self.paths.get(id(owner))
        if path is None:
            raise GraphcError(
                f"{owner!r} is used but is not an attribute of the network that is traced",
                remedy="keep every layer as an attribute, or in a list that is one",
            )
        full = f"{path}.{name}" if path else name
        if full in table and table[full][0].tensor != type:
            raise GraphcError(
                f"{full} was {table[full][0].tensor} at its first use and is {type} here",
                remedy="share a layer only between inputs of one shape",
            )
        if full not in table:
            table[full] = (make_input(full, type, kind), initializer)
        return Tensor(table[full][0])


@dataclass(frozen=True)
class Traced:
    """The result of tracing: the graph's pieces and how to initialise what it holds."""

    data: tuple[Node, ...]
    outputs: tuple[Node, ...]
    trace: Trace

    def graph(self, name: str) -> Graph:
        """Inputs are the data, then parameters, then states; outputs are the callable's."""
        held = [node for node, _ in (*self.trace.parameters.values(), *self.trace.states.values())]
        used = set(Graph(name, (*self.data, *held), self.outputs).nodes)
        read = {i for node in used for i in node.inputs} | set(self.outputs)
        return Graph(name, (*self.data, *[h for h in held if h in read]), self.outputs)

    def rewritten(self, change: Callable[[Graph], Graph]) -> Traced:
        """The same with outputs, updates of states and penalties as `change` makes them."""
        held, updates = self.trace, self.trace.updates
        inputs = [node for node, _ in (*held.parameters.values(), *held.states.values())]
        values = (*updates.values(), *held.penalties, *self.outputs)
        new = change(Graph("traced", (*self.data, *inputs), values)).outputs
        first, rest = new[: len(updates)], new[len(updates) :]
        penalties, outputs = rest[: len(held.penalties)], rest[len(held.penalties) :]
        updated = dict(zip(updates, first, strict=True))
        trace = replace(held, updates=updated, penalties=list(penalties))
        return Traced(self.data, tuple(outputs), trace)


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current_trace() -> Trace:
    """The tracing run under way. Raises GraphcError outside of one."""
    found = _current.get()
    if found is None:
        raise GraphcError(
            "a layer was called outside of tracing",
            remedy="use it inside gc.trace, gc.Model or another layer, "
            "or give gc.Model the network itself",
        )
    return found


@contextmanager
def inside(owner: Owner, location: Location | None) -> Iterator[None]:
    """What is built inside is said to be written at `location`, as a part of the layer `owner`."""
    trace = _current.get()
    path = "" if trace is None else trace.paths.get(id(owner), "")
    try:
        with written_at(None if location is None else replace(location, layer=path)):
            yield
    except GraphcError:
        if trace is not None and trace.failed is None:
            trace.failed = path, repr(owner), location
        raise


def trace_callable(
    function: Callable[..., Any],
    types: Sequence[str | TensorType],
    *,
    training: bool = False,
    names: Sequence[str] | None = None,
) -> Traced:
    """Runs `function` once on traced tensors of `types`.

    names: of the inputs; "x" for one, else "x0", "x1", ... Returns what was built.
    Raises GraphcError if `function` does not take that many inputs, or if its result is not a
    tensor or a tuple of tensors.
    """
    data, trace = _begun(function, types, training, names)
    return Traced(data, _finished(function, data, trace), trace)


@dataclass(frozen=True)
class Failure:
    """Why tracing ended early, and in which layer: its path, how it was written (both "" outside of
    any), and where.
    """

    error: GraphcError
    layer: str
    text: str
    location: Location | None


def trace_until_error(
    function: Callable[..., Any], types: Sequence[str | TensorType], *, training: bool = False
) -> tuple[Traced, Failure | None]:
    """As `trace_callable`, but an error of the network ends tracing instead of being raised.

    The outputs are then the values that nothing had read yet. Raises GraphcError only if `function`
    does not take inputs of these types.
    """
    data, trace = _begun(function, types, training, None)
    with recorded() as built:
        try:
            return Traced(data, _finished(function, data, trace), trace), None
        except GraphcError as error:
            failure = Failure(error, *(trace.failed or ("", "", error.location)))
            return Traced(data, _unread(data, built), trace), failure


def _begun(
    function: Callable[..., Any],
    types: Sequence[str | TensorType],
    training: bool,
    names: Sequence[str] | None,
) -> tuple[tuple[Node, ...], Trace]:
    """The inputs and the tracing run that `function` is traced in."""
    parsed = [_type(t) for t in types]
    _check_inputs(function, len(parsed))
    if names is None:
        names = ["x"] if len(parsed) == 1 else [f"x{k}" for k in range(len(parsed))]
    data = tuple(make_input(name, type) for name, type in zip(names, parsed, strict=True))
    return data, Trace(training, _paths(function))


def _finished(
    function: Callable[..., Any], data: tuple[Node, ...], trace: Trace
) -> tuple[Node, ...]:
    """The results of `function`, run once."""
    token = _current.set(trace)
    try:
        result = function(*map(Tensor, data))
    finally:
        _current.reset(token)
    results = tuple(result) if isinstance(result, tuple | list) else (result,)
    wrong = [type(r).__name__ for r in results if not isinstance(r, Tensor)]
    if wrong or not results:
        raise GraphcError(
            f"the traced function returned {wrong[0] if wrong else 'nothing'}, not a tensor",
            remedy="return a traced tensor or a tuple of them",
        )
    return tuple(r.node for r in results)


def _unread(data: tuple[Node, ...], built: Sequence[Node]) -> tuple[Node, ...]:
    """What was made of the data and is not read, at least the data."""
    made = topological_order(built, data)
    fed = set(data)
    for node in made:
        if any(i in fed for i in node.inputs):
            fed.add(node)
    read = {i for node in made for i in node.inputs}
    return tuple(n for n in made if n in fed and n not in read and isinstance(n.type, TensorType))


def trace(
    function: Callable[..., Any],
    *types: str | TensorType,
    training: bool = False,
    name: str | None = None,
) -> Graph:
    """The graph of `function` (a network or any callable on traced tensors) for inputs of `types`.

    >>> print(trace(lambda x: x * 2.0 + 1.0, "f32[N,3]", name="affine"))  # doctest: +ELLIPSIS
    graph affine(%x: f32[N,3]) {
      %full = full() {dtype=f32, shape=(N, 3), value=2.0} : f32[N,3]...
    """
    title = name or getattr(function, "__name__", type(function).__name__).strip("<>").lower()
    return trace_callable(function, types, training=training).graph(title)


def _type(type: object) -> TensorType:
    if isinstance(type, TensorType):
        return type
    if isinstance(type, str):
        return parse_type(type)
    raise GraphcError(
        f"{type!r} is not a tensor type", remedy='write it as text, such as "f32[N,1,32,32]"'
    )


def _check_inputs(function: Callable[..., Any], count: int) -> None:
    """Raises GraphcError unless `function` can be called with that many inputs."""
    if not callable(function):
        raise GraphcError(
            f"{function!r} cannot be traced", remedy="give a network, or a function of tensors"
        )
    misfit = misfit_of(function, count)
    if misfit is not None:
        raise GraphcError(
            f"the traced function takes {misfit[0]}, but the types given are {count}: {misfit[1]}",
            remedy="give one type for each of its inputs",
        )


def misfit_of(function: Callable[..., Any], count: int) -> tuple[str, str] | None:
    """(what `function` takes, why `count` arguments do not fit); None if they do."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some callables written in C do not say what they take
        return None
    try:
        signature.bind(*range(count))
    except TypeError as error:
        return str(signature), str(error)
    return None


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _paths(function: object) -> dict[int, str]:
    """id of every owner reachable from `function` -> its dotted path."""
    found: dict[int, str] = {}
    stack = [("", function)] if isinstance(function, Owner) else []
    while stack:
        path, owner = stack.pop()
        if id(owner) in found:
            continue
        found[id(owner)] = path
        assert isinstance(owner, Owner)
        inner = [(_joined(path, name), child) for name, child in owner.children()]
        stack.extend(reversed(inner))
    return found
