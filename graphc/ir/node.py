"""Nodes: immutable, interned, typed. `make` is the only door.

Two nodes with the same op, inputs and attributes are one object: common subexpressions vanish as a
graph is built, equality is ``is``, and "nothing changed" is one ``is``. Where a node was written
lives beside it, not in its key.
"""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphc.base.errors import GraphcError, InternalError
from graphc.base.source import Location, Origin, Source, user_location
from graphc.base.source import origin as current_origin
from graphc.ir.types import Batch, DType, TensorType, TupleType, Type

if TYPE_CHECKING:
    pass

Attrs = Mapping[str, Any]


class Operator(ABC):
    """What the IR needs to know of an op: its name and its shape rule."""

    name: str

    @abstractmethod
    def infer(self, inputs: tuple[Type, ...], attrs: Attrs) -> Type:
        """The type of the result. Raises GraphcError for inputs or attributes that do not fit."""


OPERATORS: dict[str, Operator] = {}


def register(operator: Operator) -> None:
    """Makes `operator` known to the parser and the rewriter under its name."""
    if operator.name in OPERATORS:
        raise InternalError(f"op {operator.name!r} is registered twice")
    OPERATORS[operator.name] = operator


def operator_named(name: str) -> Operator:
    """The op of that name. Raises GraphcError if there is none."""
    found = OPERATORS.get(name)
    if found is None:
        raise GraphcError(
            f"there is no op named {name!r}", remedy="known ops: " + ", ".join(sorted(OPERATORS))
        )
    return found


class Node:
    """One value of a tensor graph: ``op(inputs) {attrs} : type``.

    Built by `make`, never changed. sources: where all that it was made of was written, and what
    for; more than its own line if it stands for several nodes.
    """

    __slots__ = ("__weakref__", "attrs", "inputs", "location", "op", "origin", "sources", "type")

    op: Operator
    inputs: tuple[Node, ...]
    attrs: Attrs
    type: Type
    location: Location | None
    origin: Origin | None
    sources: tuple[Source, ...]

    def __init__(self) -> None:
        raise InternalError("nodes are built by make()")

    @property
    def tensor(self) -> TensorType:
        """The type of a node with a single result. Raises GraphcError if there are several."""
        if isinstance(self.type, TupleType):
            raise GraphcError(
                f"{self.op.name} has several results: {self.type}",
                location=self.location,
                remedy="take one with get",
            )
        return self.type

    def __setattr__(self, name: str, value: object) -> None:
        raise InternalError(f"a node is immutable: cannot set {name}")

    def __reduce__(self) -> Any:
        raise TypeError("a node is not pickled: print its graph and parse it back")

    def __repr__(self) -> str:
        return f"<{self.op.name} : {self.type}>"


@dataclass(frozen=True)
class Gradient:
    """The origin of a node that is part of the gradient of another: which, and in what form it was
    rewritten, "conv2d_input_grad in tiles", say.
    """

    node: Node
    form: str = ""

    def __str__(self) -> str:
        return self.text(self.node.op.name)

    def text(self, name: str) -> str:
        """``gradient of name, form``."""
        return f"gradient of {name}, {self.form}" if self.form else f"gradient of {name}"


def reformed(origin: Origin | None, form: str) -> Origin:
    """The origin of what a node with `origin` was rewritten to."""
    return replace(origin, form=form) if isinstance(origin, Gradient) else form


def form_of(origin: Origin | None) -> str:
    """What `reformed` was told last; "" if nothing."""
    return origin.form if isinstance(origin, Gradient) else str(origin or "")


_UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_interned: weakref.WeakValueDictionary[tuple[Any, ...], Node] = weakref.WeakValueDictionary()
_set = object.__setattr__


def make(
    op: Operator | str,
    inputs: tuple[Node, ...] = (),
    attrs: Attrs | None = None,
    *,
    location: Location | None = None,
    origin: Origin | None = None,
    sources: tuple[Source, ...] = (),
) -> Node:
    """The node ``op(inputs) {attrs}`` with the type that the op's shape rule computes.

    location: the user's line (found from the call stack when left out); origin: what the node is
    for, such as "optimizer" or a `Gradient`; sources: both of each node that it stands for, by
    default its own. All are kept from the first time the node is made. Raises GraphcError if the
    inputs or attributes do not fit.
    """
    operator = operator_named(op) if isinstance(op, str) else op
    attributes = dict(attrs or {})
    key = (
        operator.name,
        tuple(id(i) for i in inputs),
        tuple((name, _attribute_key(name, attributes[name])) for name in sorted(attributes)),
    )
    found = _interned.get(key)
    if found is not None:
        return found
    try:
        result = operator.infer(tuple(i.type for i in inputs), attributes)
    except GraphcError as error:
        if error.node is None:
            shown = ", ".join(str(i.type) for i in inputs)
            error.node = f"{operator.name}({shown}){attributes_text(attributes)}"
        error.location = location or error.location
        raise
    except _UNFIT as error:
        raise GraphcError(
            f"{operator.name} does not take these attributes ({type(error).__name__}: {error})",
            node=f"{operator.name}{attributes_text(attributes)}",
            location=location,
            remedy="build it with the op's own function, which says what is wrong",
        ) from error
    node = object.__new__(Node)
    _set(node, "op", operator)
    _set(node, "inputs", tuple(inputs))
    _set(node, "attrs", attributes)
    _set(node, "type", result)
    _set(node, "location", location if location is not None else user_location())
    _set(node, "origin", origin if origin is not None else current_origin())
    _set(node, "sources", sources or (Source(node.location, node.origin),))
    return _interned.setdefault(key, node)


def remake(node: Node, inputs: tuple[Node, ...], attrs: Attrs | None = None) -> Node:
    """`node` with other inputs (and attributes); the same object if nothing changed."""
    if attrs is None and all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
        return node
    return make(
        node.op,
        inputs,
        node.attrs if attrs is None else attrs,
        location=node.location,
        origin=node.origin,
        sources=node.sources,
    )


def attributes_text(attrs: Attrs) -> str:
    """`` {stride=(1, 1), value=0.5}``; empty if there are none.

    The parser reads it back exactly.
    """
    if not attrs:
        return ""
    return " {" + ", ".join(f"{name}={value_text(attrs[name])}" for name in sorted(attrs)) + "}"


def value_text(value: Any) -> str:
    """One attribute value as text."""
    if isinstance(value, tuple):
        inner = ", ".join(map(value_text, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, DType | Batch | TensorType):
        return str(value)
    return repr(value)


def _attribute_key(name: str, value: Any) -> Any:
    """A key that tells 1 from 1.0 from True and 0.0 from -0.0, and in which nan equals nan."""
    from graphc.ir.graph import Graph

    if value is None or isinstance(value, bool | int | str | DType | Batch | TensorType):
        return type(value), value
    if isinstance(value, float):
        return float, "nan" if math.isnan(value) else value.hex()
    if isinstance(value, tuple):
        return tuple, tuple(_attribute_key(name, v) for v in value)
    if isinstance(value, Graph):
        return Graph, id(value)
    raise GraphcError(
        f"attribute {name}={value!r} is of type {type(value).__name__}",
        remedy="attributes are None, bool, int, float, str, a dtype, N, a type, a graph, "
        "or tuples of these",
    )
