"""What layers that own a weight share: the check of their input, the weight and the bias.

Layouts and first values are PyTorch's. This file knows no particular layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.base.errors import GraphcError
from graphc.ir.types import Batch
from graphc.ops import views
from graphc.ops.elementwise import add
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Initializer, current_trace
from graphc_nn import initializers
from graphc_nn.module import Layer

IMAGES = 4, "an image batch [N,channels,height,width]"
MATRIX = 2, "a matrix [N,inputs]"


def channels_of(layer: Layer, x: Tensor, wanted: tuple[int, str], remedy: str) -> int:
    """The extent of axis 1 of a float input of the wanted (number of axes, meaning).

    Raises GraphcError for any other input.
    """
    name = type(layer).__name__
    rank, meaning = wanted
    if len(x.shape) != rank:
        raise GraphcError(
            f"{name}: the input {x.type} has {len(x.shape)} axes, not {rank}: it needs {meaning}",
            remedy=remedy,
        )
    if not x.dtype.is_float:
        raise GraphcError(
            f"{name}: the input {x.type} is not of a float dtype",
            remedy="feed f32 (or f64), or cast inside the network",
        )
    extent = x.shape[1]
    later = [axis for axis, d in enumerate(x.shape) if isinstance(d, Batch) and axis]
    if later or not isinstance(extent, int):
        raise GraphcError(
            f"{name}: axis {later[0]} of the input {x.type} is the batch",
            remedy="put N first",
        )
    return extent


def weight_of(layer: Layer, shape: tuple[int, ...], x: Tensor, given: Initializer | None) -> Tensor:
    """The layer's parameter "weight", drawn as PyTorch does unless an initialiser is given."""
    drawn = given or initializers.torch_weight()
    return current_trace().parameter(layer, "weight", shape, drawn, x.dtype)


def biased(layer: Layer, y: Tensor, drawn: Initializer) -> Tensor:
    """`y` plus the layer's parameter "bias" along axis 1."""
    bias = current_trace().parameter(layer, "bias", y.shape[1:2], drawn, y.dtype)
    return Tensor(add(y.node, views.broadcast(bias.node, shape=y.shape, axes=(1,))))


def scaled(layer: Layer, y: Tensor, axes: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """`y` times the layer's parameter "weight" (ones at first) plus its "bias" (zeros).

    Both are of `shape` and have, in row-major order, a value for each place along `axes` of `y`.
    """
    extents = [y.shape[a] for a in axes]

    def spread(name: str, drawn: Initializer) -> Tensor:
        held = current_trace().parameter(layer, name, shape, drawn, y.dtype)
        return Tensor(views.broadcast(held.reshape(*extents).node, shape=y.shape, axes=axes))

    return y * spread("weight", initializers.ones) + spread("bias", initializers.zeros)
