"""Normalisation by statistics of the tensor itself: of whole axes, or of neighbouring channels.

What is learnt (scale, shift) and what is remembered (running averages) belongs to layers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import TensorType, normalize_axes, normalize_axis, whole_numbers
from graphc.ops.create import plain_number
from graphc.ops.elementwise import add, div, exp, log, mul, sqrt, sub
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Access, Op, sample
from graphc.ops.reductions import Axes, mean, sum
from graphc.ops.views import broadcast

# -- standardize -----------------------------------------------------------------------------------


def standardize(x: Node, *, axes: Axes = None, eps: float = 1e-5) -> Node:
    """(x - mean) / sqrt(variance + eps), both over `axes`; the variance is the biased one."""
    attrs = {
        "axes": normalize_axes(axes, x.tensor.rank, "standardize"),
        "eps": float(plain_number(eps, "standardize: eps")),
    }
    return make(STANDARDIZE, (x,), attrs)


def _standardize_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype("standardize", inputs[0], "float")
    axes = normalize_axes(attrs["axes"], inputs[0].rank, "standardize")
    if not axes or 0 in (inputs[0].shape[a] for a in axes):
        raise GraphcError(
            f"standardize: {inputs[0]} has nothing to average over along axes {axes}",
            remedy="name at least one axis, and none that is empty",
        )
    _at_least_zero("standardize", attrs, "eps")
    return inputs[0]


def _at_least_zero(what: str, attrs: Attrs, *names: str) -> None:
    """Raises GraphcError unless these attributes are finite numbers of at least 0."""
    for name in names:
        if not 0.0 <= attrs[name] < math.inf:
            raise GraphcError(
                f"{what}: {name} {attrs[name]} is not a number of at least 0",
                remedy=f"give {name} as 0 or above",
            )


def _centred(x: Node, axes: tuple[int, ...]) -> Node:
    centred: Node = sub(x, mean(x, axes=axes, keepdims=True))
    return centred


def _inverse_deviation(centred: Node, axes: tuple[int, ...], eps: float) -> Node:
    variance = mean(mul(centred, centred), axes=axes, keepdims=True)
    inverse: Node = div(1.0, sqrt(add(variance, eps)))
    return inverse


def _standardize_decompose(x: Node, *, axes: tuple[int, ...], eps: float) -> Node:
    centred = _centred(x, axes)
    scaled: Node = mul(centred, _inverse_deviation(centred, axes, eps))
    return scaled


def _standardize_vjp(
    g: Node, y: Node, x: Node, *, axes: tuple[int, ...], eps: float
) -> tuple[Node]:
    """(g - mean(g) - y mean(g y)) / deviation: two sums over x, independent of each other."""
    along = mul(y, mean(mul(g, y), axes=axes, keepdims=True))
    rest = sub(sub(g, mean(g, axes=axes, keepdims=True)), along)
    return (mul(rest, _inverse_deviation(_centred(x, axes), axes, eps)),)


def _standardize_numpy(x: Any, *, n: int, axes: tuple[int, ...], eps: float) -> Any:
    variance = x.var(axis=axes, keepdims=True)
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(variance + x.dtype.type(eps))


STANDARDIZE: Op = layer(
    "standardize", rule=_standardize_rule, numpy=_standardize_numpy, build=standardize,
    decompose=_standardize_decompose, vjp=_standardize_vjp, arity=1,
    samples=(sample("f32[N,2,3,4]", axes=(1, 2, 3), eps=1e-5),
             sample("f32[N,3,4]", axes=(0, 2), eps=0.1),
             sample("f64[2,3,5]", axes=(2,), eps=1e-3),
             sample("i32[N,3]", axes=(1,), eps=1e-5, raises="float"),
             sample("f32[N,0,3]", axes=(1, 2), eps=1e-5, raises="nothing to average"),
             sample("f32[N,3]", axes=(1,), eps=-1.0, raises="at least 0")),
)  # fmt: skip

# -- batch norm ------------------------------------------------------------------------------------


def batch_norm(x: Node, weight: Node, bias: Node, *, eps: float = 1e-5) -> Node:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel (axis 1) of [N,C,...].

    Mean and (biased) variance are those of x over all other axes; weight and bias are [C]. Ioffe
    and Szegedy, "Batch normalization", 2015.
    """
    attrs = {"eps": float(plain_number(eps, "batch_norm: eps"))}
    return make(BATCH_NORM, (x, weight, bias), attrs)


def channel_statistics(x: Node) -> tuple[Node, Node, Node]:
    """(mean, x - mean, variance) of each channel of [N,C,...]: [C], x's own shape, [C]."""
    axes = _all_but_channels(x.tensor)
    average = mean(x, axes=axes)
    centred = sub(x, _over_channels(average, x))
    return average, centred, mean(mul(centred, centred), axes=axes)


def _all_but_channels(x: TensorType) -> list[int]:
    return [a for a in range(x.rank) if a != 1]


def _over_channels(vector: Node, x: Node) -> Node:
    return broadcast(vector, shape=x.tensor.shape, axes=(1,))


def _batch_norm_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x = inputs[0]
    require_dtype("batch_norm", x, "float")
    _at_least_zero("batch_norm", attrs, "eps")
    if x.rank < 2 or not isinstance(x.shape[1], int):
        raise GraphcError(
            f"batch_norm: {x} has no channels on axis 1", remedy="give [N,channels,...]"
        )
    if 0 in (x.shape[a] for a in _all_but_channels(x)):
        raise GraphcError(
            f"batch_norm: the channels of {x} are empty",
            remedy="normalise axes that hold something",
        )
    for name, given in zip(("weight", "bias"), inputs[1:], strict=True):
        if given != TensorType(x.dtype, (x.shape[1],)):
            raise GraphcError(
                f"batch_norm: the {name} {given} is not {x.dtype}[{x.shape[1]}], a number for each "
                f"channel of {x}",
                remedy=f"give a {name} of that type",
            )
    return x


def _batch_norm_decompose(x: Node, weight: Node, bias: Node, *, eps: float) -> Node:
    _, centred, variance = channel_statistics(x)
    scale = div(weight, sqrt(add(variance, eps)))
    scaled: Node = add(mul(centred, _over_channels(scale, x)), _over_channels(bias, x))
    return scaled


def _batch_norm_vjp(
    g: Node, y: Node, x: Node, weight: Node, bias: Node, *, eps: float
) -> tuple[Node, Node, Node]:
    """weight / deviation (g - mean(g) - centred mean(g centred) / variance): with the gradients of
    weight and bias two sums over x in all, where differentiating mean and variance takes three.
    """
    axes = _all_but_channels(x.tensor)
    _, centred, variance = channel_statistics(x)
    inverse = div(1.0, sqrt(add(variance, eps)))
    product = mul(g, centred)
    along = mul(mean(product, axes=axes), mul(inverse, inverse))
    rest = sub(g, _over_channels(mean(g, axes=axes), x))
    rest = sub(rest, mul(centred, _over_channels(along, x)))
    scaled = mul(rest, _over_channels(mul(weight, inverse), x))
    return scaled, mul(sum(product, axes=axes), inverse), sum(g, axes=axes)


def _batch_norm_numpy(x: Any, weight: Any, bias: Any, *, n: int, eps: float) -> Any:
    axes = tuple(a for a in range(x.ndim) if a != 1)
    standard = _standardize_numpy(x, n=n, axes=axes, eps=eps)
    channels = (-1, *(1,) * (x.ndim - 2))
    return standard * weight.reshape(channels) + bias.reshape(channels)


BATCH_NORM: Op = layer(
    "batch_norm", rule=_batch_norm_rule, numpy=_batch_norm_numpy, build=batch_norm,
    decompose=_batch_norm_decompose, vjp=_batch_norm_vjp, arity=3,
    samples=(sample("f32[N,3,2,4]", "f32[3]", "f32[3]", eps=1e-5),
             sample("f32[N,2]", "f32[2]", "f32[2]", eps=0.1),
             sample("f64[4,3,5]", "f64[3]", "f64[3]", eps=1e-3),
             sample("i32[N,3]", "i32[3]", "i32[3]", eps=1e-5, raises="float"),
             sample("f32[N]", "f32[3]", "f32[3]", eps=1e-5, raises="no channels"),
             sample("f32[N,3,0]", "f32[3]", "f32[3]", eps=1e-5, raises="are empty"),
             sample("f32[N,3,2]", "f32[3]", "f32[2]", eps=1e-5, raises="the bias"),
             sample("f32[N,3]", "f32[3]", "f32[3]", eps=-1.0, raises="at least 0")),
)  # fmt: skip

# -- neighbouring channels -------------------------------------------------------------------------


def moving_sum(x: Node, *, axis: int, low: int, high: int) -> Node:
    """The sum along `axis` of each element, the `low` before it and the `high` after it.

    What is outside counts as zero.
    """
    axis = normalize_axis(axis, x.tensor.rank, "moving_sum")
    return make(MOVING_SUM, (x,), {"axis": axis, "low": low, "high": high})


def _moving_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype("moving_sum", inputs[0], "number")
    axis = normalize_axis(attrs["axis"], inputs[0].rank, "moving_sum")
    whole_numbers((attrs["low"], attrs["high"]), "moving_sum: low and high", least=0)
    if not isinstance(inputs[0].shape[axis], int):
        raise GraphcError(
            f"moving_sum: axis {axis} of {inputs[0]} is the batch",
            remedy="samples are not neighbours; choose another axis",
        )
    return inputs[0]


def _moving_access(
    out: tuple[Index, ...],
    tap: tuple[Index, ...],
    inputs: tuple[TensorType, ...],
    attrs: Attrs,
) -> Access:
    axis, low = attrs["axis"], attrs["low"]
    return Access(((*out[:axis], out[axis] + tap[0] - low, *out[axis + 1 :]),))


def _moving_numpy(x: Any, *, n: int, axis: int, low: int, high: int) -> Any:
    lines = np.moveaxis(x, axis, 0)
    sums = [lines[max(i - low, 0) : i + high + 1].sum(0, dtype=x.dtype) for i in range(len(lines))]
    return np.moveaxis(np.stack(sums), 0, axis) if sums else x


MOVING_SUM: Op = Op(
    "moving_sum", "reduction", _moving_rule, _moving_numpy, moving_sum,
    vjp=lambda g, y, x, *, axis, low, high: (moving_sum(g, axis=axis, low=high, high=low),),
    body=lambda s, at, tap, x, **_: x, access=_moving_access,
    domain=lambda inputs, attrs: (attrs["low"] + attrs["high"] + 1,),
    combine="sum", arity=1,
    samples=(sample("f32[N,5,2]", axis=1, low=2, high=1),
             sample("f32[3,N]", axis=0, low=4, high=4),
             sample("f64[2,3,4]", axis=2, low=0, high=1),
             sample("f32[N,3]", axis=0, low=1, high=1, raises="is the batch"),
             sample("f32[N,3]", axis=1, low=-1, high=1, raises="low and high")),
)  # fmt: skip


def local_response_norm(
    x: Node,
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 2.0,
    alpha_over_size: bool = False,
) -> Node:
    """x / (k + alpha s)^beta, s the sum of squares of `size` neighbouring channels.

    Channel i of [N,C,...] sums those from i - size//2 to i + (size - 1)//2. `alpha_over_size`
    divides alpha by the size. Krizhevsky et al., "ImageNet classification with deep convolutional
    neural networks", 2012, section 3.3.
    """
    (size,) = whole_numbers((size,), "local_response_norm: size", least=1)
    numbers = {
        name: float(plain_number(value, f"local_response_norm: {name}"))
        for name, value in (("alpha", alpha), ("beta", beta), ("k", k))
    }
    if alpha_over_size:
        numbers["alpha"] /= size
    return make(LOCAL_RESPONSE_NORM, (x,), {"size": size, **numbers})


def _response_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x = inputs[0]
    require_dtype("local_response_norm", x, "float")
    whole_numbers((attrs["size"],), "local_response_norm: size", least=1)
    _at_least_zero("local_response_norm", attrs, "alpha", "beta", "k")
    if x.rank < 2 or not isinstance(x.shape[1], int):
        raise GraphcError(
            f"local_response_norm: {x} has no channels on axis 1", remedy="give [N,channels,...]"
        )
    return x


def _energy(x: Node, size: int, alpha: float, k: float) -> Node:
    """k + alpha times the sum of squares of the neighbouring channels."""
    squares = moving_sum(mul(x, x), axis=1, low=size // 2, high=(size - 1) // 2)
    energy: Node = add(mul(squares, alpha), k)
    return energy


def _damping(energy: Node, beta: float) -> Node:
    """energy^-beta; above 0, exp and log are as good as power and several times as fast."""
    damping: Node = exp(mul(log(energy), -beta))
    return damping


def _response_decompose(x: Node, *, size: int, alpha: float, beta: float, k: float) -> Node:
    scaled: Node = mul(x, _damping(_energy(x, size, alpha, k), beta))
    return scaled


def _response_vjp(
    g: Node, y: Node, x: Node, *, size: int, alpha: float, beta: float, k: float
) -> tuple[Node]:
    """g e^-beta - 2 alpha beta x sum(g y / e), the sum over the channels whose energy x is in."""
    energy = _energy(x, size, alpha, k)
    share = div(mul(g, y), energy)
    back = moving_sum(share, axis=1, low=(size - 1) // 2, high=size // 2)
    own = mul(g, _damping(energy, beta))
    return (sub(own, mul(mul(x, back), 2.0 * alpha * beta)),)


def _response_numpy(x: Any, *, n: int, size: int, alpha: float, beta: float, k: float) -> Any:
    alpha, beta, k = (x.dtype.type(v) for v in (alpha, beta, k))
    squares = _moving_numpy(x * x, n=n, axis=1, low=size // 2, high=(size - 1) // 2)
    return x / (k + alpha * squares) ** beta


LOCAL_RESPONSE_NORM: Op = layer(
    "local_response_norm", rule=_response_rule, numpy=_response_numpy, build=local_response_norm,
    decompose=_response_decompose, vjp=_response_vjp, arity=1,
    samples=(sample("f32[N,7,2,3]", size=5, alpha=0.3, beta=0.75, k=2.0),
             sample("f32[N,3]", size=4, alpha=0.2, beta=0.5, k=1.0),
             sample("f64[2,2,3]", size=9, alpha=1e-4, beta=0.75, k=2.0),
             sample("f32[N]", size=5, alpha=0.3, beta=0.75, k=2.0, raises="no channels"),
             sample("f32[N,3]", size=0, alpha=0.3, beta=0.75, k=2.0, raises="size")),
)  # fmt: skip
