"""Constructors of the op families: each checks what its ops share and builds the `Op` record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.rewrite import Rule
from graphc.ir.types import DType, TensorType, broadcast_shapes
from graphc.ops.op import Gradient, Op, Sample, common_layout, sample
from graphc.ops.scalar import Value

Operand = Node | float | int | bool
UNARY_SAMPLES = (sample("f32[N,3]"), sample("f32[4]"), sample("f32[]"), sample("f64[2,N,3]"))
BINARY_SAMPLES = (
    sample("f32[N,3]", "f32[N,3]"),
    sample("f32[N,2,3]", "f32[3]"),
    sample("f32[4,1]", "f32[1,5]"),
    sample("f32[]", "f32[N,2]"),
    sample("f64[N,3]", "f64[1,3]"),
    sample("f32[N,3]", "f32[N,4]", raises="do not broadcast"),
    sample("f32[3]", "f64[3]", raises="dtype"),
)


def elementwise(
    name: str,
    *,
    arity: int,
    numpy: Callable[..., Any],
    body: Callable[..., Value],
    vjp: Gradient | None,
    doc: str,
    dtypes: str = "float",
    result: DType | None = None,
    samples: Sequence[Sample] | None = None,
    rules: Sequence[Rule] = (),
) -> Op:
    """An op on one element of each input at a time. The builder broadcasts; the node's inputs have
    one shape.

    dtypes: "float", "number" (floats and integers) or "any" of the inputs; result: dtype of the
    result if it is not that of the inputs.
    """

    def rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
        first = inputs[0]
        same_dtype(name, inputs)
        require_dtype(name, first, dtypes)
        for other in inputs[1:]:
            if other.shape != first.shape:
                listed = " and ".join(str(i) for i in inputs)
                raise GraphcError(
                    f"{name}: inputs {listed} differ in shape", remedy="broadcast them first"
                )
        return TensorType(result or first.dtype, first.shape).with_layout(common_layout(inputs))

    def build(*operands: Operand, **attrs: Any) -> Node:
        if len(operands) != arity:
            raise GraphcError(
                f"{name} takes {arity} operand{'s' if arity != 1 else ''}, not {len(operands)}",
                node=_call(name, operands),
                remedy=f"give tensors, or numbers: {doc}",
            )
        return make(op, broadcast_together(name, operands), attrs)

    build.__name__ = name
    build.__doc__ = doc
    if samples is None:
        samples = UNARY_SAMPLES if arity == 1 else BINARY_SAMPLES
    op = Op(
        name, "elementwise", rule, numpy, build, vjp=vjp, body=body, samples=tuple(samples),
        rules=tuple(rules), arity=arity,
    )  # fmt: skip
    return op


def same_dtype(what: str, inputs: Sequence[TensorType]) -> None:
    """Raises GraphcError if the inputs' dtypes differ."""
    if len({i.dtype for i in inputs}) > 1:
        listed = " and ".join(str(i) for i in inputs)
        raise GraphcError(f"{what}: inputs {listed} differ in dtype", remedy="cast one of them")


def product_dtype(what: str, inputs: Sequence[TensorType]) -> DType:
    """The dtype of a sum of products of two tensors: theirs, but f32 for bf16.

    Raises GraphcError if they differ, or are no floats.
    """
    same_dtype(what, inputs)
    if inputs[0].dtype is DType.bf16:
        return DType.f32
    for type in inputs:
        require_dtype(what, type, "float")
    return inputs[0].dtype


def require_dtype(what: str, type: TensorType, dtypes: str) -> None:
    """Raises GraphcError unless the dtype is of the kind "float", "integer", "number" or "any"."""
    allowed = {
        "float": type.dtype.is_float,
        "number": type.dtype is not DType.bool,
        "integer": type.dtype.is_integer,
        "any": True,
    }
    if not allowed[dtypes]:
        raise GraphcError(
            f"{what}: input {type} is not of a {dtypes} dtype",
            remedy="cast it first",
        )


def broadcast_together(what: str, operands: Sequence[Operand]) -> tuple[Node, ...]:
    """Operands as nodes of one shape: numbers become constants, smaller tensors are broadcast."""
    from graphc.ops.create import full, plain_number
    from graphc.ops.views import broadcast

    try:
        nodes = [o for o in operands if isinstance(o, Node)]
        if not nodes:
            raise GraphcError(f"{what}: no operand is a tensor", remedy="give at least one tensor")
        shape = broadcast_shapes([n.tensor.shape for n in nodes], what)
        dtype = nodes[0].tensor.dtype
        return tuple(
            broadcast(o, shape=shape)
            if isinstance(o, Node)
            else full(plain_number(o, f"{what}: operand"), shape=shape, dtype=dtype)
            for o in operands
        )
    except GraphcError as error:
        error.node = error.node or _call(what, operands)
        raise


def _call(name: str, operands: Sequence[object]) -> str:
    """``add(f32[N,3], 2.0)``."""
    shown = (str(o.type) if isinstance(o, Node) else repr(o) for o in operands)
    return f"{name}({', '.join(shown)})"


def layer(
    name: str,
    *,
    rule: Callable[[tuple[TensorType, ...], Attrs], Any],
    numpy: Callable[..., Any] | None = None,
    build: Callable[..., Any],
    decompose: Callable[..., Any],
    vjp: Gradient | None = None,
    samples: Sequence[Sample] = (),
    arity: int | None = None,
) -> Op:
    """An op of the field's vocabulary that means what its decomposition into primitives means.

    Without a `vjp` its gradient is that of the decomposition.
    """
    return Op(
        name,
        "layer",
        rule,
        numpy,
        build,
        vjp=vjp,
        decompose=decompose,
        samples=tuple(samples),
        arity=arity,
    )
