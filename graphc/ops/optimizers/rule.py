"""The shape rule that optimiser updates share."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.base.errors import GraphcError
from graphc.ir.types import TensorType, TupleType
from graphc.ops.families import require_dtype, same_dtype


def update_type(name: str, inputs: Sequence[TensorType], states: int) -> TupleType:
    """The type of an update: the new parameter and each new state.

    inputs: a parameter, its gradient and `states` tensors of the same type, then scalars of their
    dtype. Raises GraphcError if they are anything else.
    """
    same_dtype(name, inputs)
    require_dtype(name, inputs[0], "float")
    first, tensors = inputs[0], 2 + states
    fits = all(i.shape == first.shape for i in inputs[:tensors])
    if not fits or any(i.shape != () for i in inputs[tensors:]):
        raise GraphcError(
            f"{name}: {' and '.join(map(str, inputs))} do not fit",
            remedy="parameter, gradient and state have one shape",
        )
    return TupleType((first,) * (1 + states))
