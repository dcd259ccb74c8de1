"""Traced tensors: stand-ins for arrays on which plain Python runs once, to build a graph."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import OPERATORS, Node
from graphc.ir.types import Dim, DType, Shape, TensorType
from graphc.ops import contractions, elementwise, reductions, views
from graphc.ops.op import Op

Operand = Any
_record: ContextVar[list[Node] | None] = ContextVar("record", default=None)


@contextmanager
def recorded() -> Iterator[list[Node]]:
    """The node of every traced tensor that is made inside, in order."""
    built: list[Node] = []
    token = _record.set(built)
    try:
        yield built
    finally:
        _record.reset(token)


class Tensor:
    """A value of the graph being traced.

    Arithmetic, comparisons and indexing build nodes; there are no numbers yet.
    """

    __array_priority__ = 1000
    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node
        built = _record.get()
        if built is not None:
            built.append(node)

    @property
    def type(self) -> TensorType:
        """dtype, shape and layout."""
        return self.node.tensor

    @property
    def shape(self) -> Shape:
        """Extents; the batch is `N`."""
        return self.node.tensor.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.node.tensor.dtype

    def __add__(self, other: Operand) -> Tensor:
        return _apply(elementwise.add, self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return _apply(elementwise.add, other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return _apply(elementwise.sub, self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return _apply(elementwise.sub, other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return _apply(elementwise.mul, self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return _apply(elementwise.mul, other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return _apply(elementwise.div, self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return _apply(elementwise.div, other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return _apply(elementwise.power, self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return _apply(elementwise.power, other, self)

    def __neg__(self) -> Tensor:
        return _apply(elementwise.neg, self)

    def __abs__(self) -> Tensor:
        return _apply(elementwise.absolute, self)

    def __matmul__(self, other: Tensor) -> Tensor:
        return _apply(contractions.matmul, self, other)

    def __lt__(self, other: Operand) -> Tensor:
        return _apply(elementwise.less, self, other)

    def __le__(self, other: Operand) -> Tensor:
        return _apply(elementwise.less_equal, self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return _apply(elementwise.less, other, self)

    def __ge__(self, other: Operand) -> Tensor:
        return _apply(elementwise.less_equal, other, self)

    def __eq__(self, other: Operand) -> Tensor:  # type: ignore[override]
        return _apply(elementwise.equal, self, other)

    def __ne__(self, other: Operand) -> Tensor:  # type: ignore[override]
        return _apply(elementwise.not_equal, self, other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise self._no_value("it cannot decide an if or a while")

    def __float__(self) -> float:
        raise self._no_value("it is no number")

    def __int__(self) -> int:
        raise self._no_value("it is no number")

    def __len__(self) -> int:
        raise self._no_value("it has no length: shape says its extents")

    def __array__(self, *_: object, **__: object) -> NoReturn:
        raise self._no_value("it is no array")

    def _no_value(self, so: str) -> GraphcError:
        return GraphcError(
            f"a traced tensor has no value yet, so {so}",
            node=repr(self),
            remedy="choose with where(condition, x, y), or decide by shapes and plain numbers",
        )

    def __getitem__(self, key: Any) -> Tensor:
        keys = key if isinstance(key, tuple) else (key,)
        if len(keys) > len(self.shape) or any(
            isinstance(k, bool) or not isinstance(k, int | builtins.slice) for k in keys
        ):
            raise GraphcError(
                f"index {key!r} does not fit {self.type}",
                remedy="index with whole numbers and start:stop:step ranges",
            )
        every = (*keys, *[builtins.slice(None)] * (len(self.shape) - len(keys)))
        ranges = [_range(k, d, self) for k, d in zip(every, self.shape, strict=True)]
        found = views.slice(self.node, start=[r[0] for r in ranges], stop=[r[1] for r in ranges],
                            step=[r[2] for r in ranges])  # fmt: skip
        dropped = {a for a, k in enumerate(keys) if isinstance(k, int)}
        kept = [d for a, d in enumerate(found.tensor.shape) if a not in dropped]
        return Tensor(views.reshape(found, shape=kept))

    def reshape(self, *shape: Dim) -> Tensor:
        """The same elements under another shape; one extent may be -1."""
        return _apply(views.reshape, self, shape=shape)

    def transpose(self, *axes: int) -> Tensor:
        """Axes in another order, reversed by default."""
        return _apply(views.transpose, self, axes=axes or None)

    @property
    def T(self) -> Tensor:
        """Axes reversed."""
        return self.transpose()

    def sum(self, axes: reductions.Axes = None, keepdims: bool = False) -> Tensor:
        """The sum over `axes`, all by default."""
        return _apply(reductions.sum, self, axes=axes, keepdims=keepdims)

    def mean(self, axes: reductions.Axes = None, keepdims: bool = False) -> Tensor:
        """The mean over `axes`, all by default."""
        return _apply(reductions.mean, self, axes=axes, keepdims=keepdims)

    def __repr__(self) -> str:
        return f"<traced {self.type}>"


def function(builder: Callable[..., Any]) -> Callable[..., Tensor]:
    """An op's builder as a function of traced tensors, with the same name and documentation."""

    def lifted(*operands: Operand, **attrs: Any) -> Tensor:
        return _apply(builder, *operands, **attrs)

    lifted.__name__, lifted.__doc__ = builder.__name__, builder.__doc__
    return lifted


def function_named(name: str) -> Callable[..., Tensor] | None:
    """The function of traced tensors for the op of that name; None if there is no such op."""
    op = OPERATORS.get(name)
    return function(op.build) if isinstance(op, Op) and op.family != "structure" else None


def _apply(builder: Callable[..., Any], *operands: Operand, **attrs: Any) -> Tensor:
    try:
        built = builder(*[_node_or_number(builder.__name__, o) for o in operands], **attrs)
    except GraphcError as error:
        if error.node is None:
            shown = [_operand_text(o) for o in operands]
            shown += [f"{name}={value!r}" for name, value in attrs.items()]
            error.node = f"{builder.__name__}({', '.join(shown)})"
        raise
    return Tensor(built)


def _node_or_number(called: str, operand: Operand) -> Any:
    """What a builder takes. Raises GraphcError for anything else, an array above all."""
    if isinstance(operand, Tensor):
        return operand.node
    if isinstance(operand, float | int | np.generic) or np.ndim(operand) == 0:
        return operand
    raise GraphcError(
        f"{called} was called on {_operand_text(operand)}, not on traced tensors",
        remedy="give arrays to gc.Model(network, ...).predict or to a compiled graph",
    )


def _operand_text(operand: Operand) -> str:
    if isinstance(operand, Tensor):
        return str(operand.type)
    if isinstance(operand, np.ndarray) and operand.ndim:
        return f"an array of shape {list(operand.shape)}"
    return repr(operand)


def _range(key: int | builtins.slice, extent: Dim, whole: Tensor) -> tuple[int, int | None, int]:
    if isinstance(key, builtins.slice):
        if not isinstance(extent, int):
            if key == builtins.slice(None):
                return 0, None, 1
            raise GraphcError(
                f"{_shown(key)} takes a part of the batch",
                node=repr(whole),
                remedy="take the whole batch with :",
            )
        if key.step == 0:
            raise GraphcError(
                f"{_shown(key)} has step 0", node=repr(whole), remedy="use a step above 0"
            )
        start, stop, step = key.indices(extent)
        return start, stop, step
    if not isinstance(extent, int):
        raise GraphcError(
            f"index {key} takes a part of the batch",
            node=repr(whole),
            remedy="take the whole batch with :",
        )
    if not -extent <= key < extent:
        raise GraphcError(
            f"index {key} of an axis of extent {extent}",
            node=repr(whole),
            remedy="use an index inside the axis",
        )
    return key % extent, key % extent + 1, 1


def _shown(key: builtins.slice) -> str:
    """A range as it is written: ``2:10``."""
    parts = ["" if k is None else str(k) for k in (key.start, key.stop, key.step)]
    return ":".join(parts if key.step is not None else parts[:2])
