"""A graph: named inputs, outputs, and which outputs overwrite which inputs.

Immutable and interned like nodes.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from graphc.base.display import Displayed
from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, Operator, make, register
from graphc.ir.types import TensorType, Type

if TYPE_CHECKING:
    import networkx

INPUT_KINDS = ("data", "parameter", "state")


class Input(Operator):
    """A value from outside: data fed at each call, a trained parameter, or a state that is kept."""

    name = "input"

    def infer(self, inputs: tuple[Type, ...], attrs: Attrs) -> TensorType:
        if attrs["kind"] not in INPUT_KINDS:
            raise GraphcError(
                f"input {attrs['name']!r} is of kind {attrs['kind']!r}",
                remedy="kinds: " + ", ".join(INPUT_KINDS),
            )
        declared: TensorType = attrs["type"]
        return declared


INPUT = Input()
register(INPUT)


def make_input(name: str, type: TensorType, kind: str = "data") -> Node:
    """An input node. Its name is part of what it is: two inputs of one type are two nodes."""
    return make(INPUT, (), {"name": name, "type": type, "kind": kind})


class Graph(Displayed):
    """``name(inputs) -> outputs`` over interned nodes.

    inputs: input nodes, each name once. outputs: any nodes with a single result.
    donations: pairs (output, input): running the graph writes that output over that input.
    """

    __slots__ = ("__weakref__", "_names", "_order", "donations", "inputs", "name", "outputs")

    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    donations: tuple[tuple[int, int], ...]
    _order: tuple[Node, ...] | None
    _names: dict[Node, str] | None

    def __new__(
        cls,
        name: str,
        inputs: Sequence[Node],
        outputs: Sequence[Node],
        donations: Sequence[tuple[int, int]] = (),
    ) -> Graph:
        key = (name, tuple(map(id, inputs)), tuple(map(id, outputs)), tuple(donations))
        found = _interned.get(key)
        if found is not None:
            return found
        graph = object.__new__(cls)
        store = object.__setattr__
        store(graph, "name", name)
        store(graph, "inputs", tuple(inputs))
        store(graph, "outputs", tuple(outputs))
        store(graph, "donations", tuple(donations))
        store(graph, "_order", None)
        store(graph, "_names", None)
        graph._validate()
        return _interned.setdefault(key, graph)

    def __setattr__(self, name: str, value: object) -> None:
        raise GraphcError(f"a graph is immutable: cannot set {name}", remedy="build a new Graph")

    def __reduce__(self) -> Any:
        raise TypeError("a graph is not pickled: print it and parse it back")

    def _validate(self) -> None:
        stranger = next((i for i in self.inputs if i.op is not INPUT), None)
        if stranger is not None:
            raise GraphcError(
                f"graph {self.name}: {stranger!r} is no input node",
                remedy="make it with make_input",
            )
        names = Counter(i.attrs["name"] for i in self.inputs)
        twice = [n for n, count in names.items() if count > 1]
        if twice:
            raise GraphcError(
                f"graph {self.name}: input {twice[0]!r} appears twice", remedy="rename one"
            )
        missing = [i for i in self.nodes if i.op is INPUT and not any(i is j for j in self.inputs)]
        if missing:
            raise GraphcError(
                f"graph {self.name} reads {missing[0].attrs['name']!r}, "
                "which is not among its inputs",
                remedy="list every input of the graph",
            )
        self._validate_outputs()

    def _validate_outputs(self) -> None:
        if not self.outputs:
            raise GraphcError(f"graph {self.name} has no output", remedy="give at least one")
        types = [o.tensor for o in self.outputs]
        overwritten = Counter(source for _, source in self.donations)
        for output, source in self.donations:
            if not (0 <= output < len(types) and 0 <= source < len(self.inputs)):
                raise GraphcError(
                    f"graph {self.name}: donation ({output}, {source}) of {len(types)} outputs "
                    f"and {len(self.inputs)} inputs",
                    remedy="give pairs of positions: (output, input)",
                )
            before, after = self.inputs[source].tensor, types[output]
            name = self.inputs[source].attrs["name"]
            if overwritten[source] > 1:
                raise GraphcError(
                    f"graph {self.name}: two outputs overwrite one input, {name!r}",
                    remedy="donate each input once",
                )
            if (before.dtype, before.shape) != (after.dtype, after.shape):
                raise GraphcError(
                    f"graph {self.name}: output {output} of type {after} cannot overwrite "
                    f"{name!r} of type {before}",
                    remedy="donate an input of the same type",
                )

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, inputs first, each after its inputs. The order depends on the graph alone."""
        if self._order is not None:
            return self._order
        order = topological_order(self.outputs, self.inputs)
        object.__setattr__(self, "_order", order)
        return order

    @property
    def names(self) -> dict[Node, str]:
        """A stable name for every node: an input's own, else its op's, numbered from the second."""
        if self._names is not None:
            return self._names
        names = {i: str(i.attrs["name"]) for i in self.inputs}
        taken, counts = set(names.values()), Counter[str]()
        for node in self.nodes:
            if node in names:
                continue
            base = node.attrs["body"].name if node.op.name == "fused" else node.op.name
            while True:
                number = counts[base]
                counts[base] += 1
                name = f"{base}_{number}" if number else base
                if name not in taken:
                    break
            taken.add(name)
            names[node] = name
        object.__setattr__(self, "_names", names)
        return names

    def input_named(self, name: str) -> Node:
        """The input of that name. Raises GraphcError if there is none."""
        for node in self.inputs:
            if node.attrs["name"] == name:
                return node
        raise GraphcError(
            f"graph {self.name} has no input {name!r}",
            remedy="its inputs: " + ", ".join(str(i.attrs["name"]) for i in self.inputs),
        )

    def users(self) -> dict[Node, list[Node]]:
        """For every node, the nodes that read it (once for each time they do)."""
        found: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for source in node.inputs:
                found[source].append(node)
        return found

    def diff(self, other: Graph) -> str:
        """A unified diff of the two graphs' texts, from self to other; empty if they are the same.

        What is in both, or takes the place of what is gone, has the name that it has in self.
        """
        from graphc.ir.diff import diff

        return diff(self, other)

    def to_networkx(self) -> networkx.MultiDiGraph:
        """A networkx view: a vertex a node, by name, with ``op``, ``type``, ``attrs``, ``location``
        (the user's line as text) and ``origin`` (what it is for); an edge a use, with its
        ``position`` among the inputs. The view's own attributes are ``name`` and ``outputs``.
        """
        from graphc.ir.export import to_networkx

        return to_networkx(self)

    def to_dot(self) -> str:
        """The graph in Graphviz's language, for other tools: a vertex a node, an edge a use."""
        from graphc.ir.export import to_dot

        return to_dot(self)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __str__(self) -> str:
        from graphc.ir.text import graph_text

        return graph_text(self)

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.nodes)} nodes>"


_interned: weakref.WeakValueDictionary[tuple[Any, ...], Graph] = weakref.WeakValueDictionary()


def topological_order(outputs: Sequence[Node], first: Sequence[Node] = ()) -> tuple[Node, ...]:
    """Every node that `outputs` need, each after its inputs, `first` in front.

    No recursion: any depth works.
    """
    done: dict[Node, None] = dict.fromkeys(first)
    for output in outputs:
        stack = [(output, 0)]
        while stack:
            node, position = stack.pop()
            if node in done:
                continue
            if position < len(node.inputs):
                stack.append((node, position + 1))
                source = node.inputs[position]
                if source not in done:
                    stack.append((source, 0))
            else:
                done[node] = None
    return tuple(done)
