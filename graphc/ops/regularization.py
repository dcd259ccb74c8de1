"""Dropout with an explicit key, and the divergence that sparse autoencoders add to their loss.

Two dropouts differ by key or stream, so they never merge and always replay.
"""

from __future__ import annotations

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, TensorType, whole_numbers
from graphc.ops.create import full, plain_number, random_uniform
from graphc.ops.elementwise import add, less_equal, log, mul, neg, sub, where
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Op, sample
from graphc.ops.reductions import mean, sum


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x, key = inputs
    require_dtype("dropout", x, "float")
    if key.dtype is not DType.i32 or key.shape != ():
        raise GraphcError(f"dropout: the key is {key}", remedy="give an i32[] key")
    whole_numbers((attrs["stream"],), "dropout: stream", least=0)
    if not 0.0 <= attrs["rate"] < 1.0:
        raise GraphcError(
            f"dropout: rate {attrs['rate']} is not in [0, 1)", remedy="use for example 0.5"
        )
    if np.float32(attrs["rate"]) == 1.0:  # no random number of 24 bits is that large
        raise GraphcError(
            f"dropout: rate {attrs['rate']} would keep nothing", remedy="use at most 1 - 2**-24"
        )
    return x


def dropout(x: Node, key: Node, *, rate: float, stream: int = 0) -> Node:
    """x with each element zeroed with probability `rate` and the rest divided by 1 - rate.

    key: an i32 scalar; `stream` tells several dropouts with one key apart.
    """
    return make(
        DROPOUT, (x, key), {"rate": float(plain_number(rate, "dropout: rate")), "stream": stream}
    )


def _decompose(x: Node, key: Node, *, rate: float, stream: int) -> Node:
    drawn = random_uniform(key, shape=x.tensor.shape, stream=stream)
    kept = less_equal(full(rate, shape=x.tensor.shape), drawn)
    return where(
        kept, mul(x, 1.0 / (1.0 - rate)), full(0.0, shape=x.tensor.shape, dtype=x.tensor.dtype)
    )


DROPOUT: Op = layer(
    "dropout", rule=_rule, build=dropout, decompose=_decompose, arity=2,
    vjp=lambda g, y, x, key, *, rate, stream: (dropout(g, key, rate=rate, stream=stream), None),
    samples=(sample("f32[N,6]", "i32[]", rate=0.5, stream=0),
             sample("f64[N,2,3]", "i32[]", rate=0.25, stream=3),
             sample("f32[N,6]", "i32[]", rate=0.0, stream=1),
             sample("f32[N,6]", "i32[]", rate=1.0, stream=0, raises="rate"),
             sample("f32[N,6]", "i32[]", rate=1 - 1e-9, stream=0, raises="keep nothing")),
)  # fmt: skip

# -- sparsity --------------------------------------------------------------------------------------


def _sparsity_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x = inputs[0]
    require_dtype("sparsity", x, "float")
    if x.rank == 0:
        raise GraphcError(f"sparsity: {x} has no batch axis", remedy="give a tensor [N,units]")
    if not 0.0 < attrs["rho"] < 1.0:
        raise GraphcError(
            f"sparsity: rho {attrs['rho']} is not in (0, 1)", remedy="use for example 0.05"
        )
    return TensorType(x.dtype, ())


def sparsity(x: Node, *, rho: float = 0.05) -> Node:
    """sum over the units j of KL(rho || m_j), m_j being the mean of unit j over the batch (axis 0).

    KL(rho || m) = rho log(rho / m) + (1 - rho) log((1 - rho) / (1 - m)), so the activations x must
    lie in (0, 1); the derivative for one sample is (-rho / m + (1 - rho) / (1 - m)) / N.
    """
    return make(SPARSITY, (x,), {"rho": float(plain_number(rho, "sparsity: rho"))})


def _sparsity_decompose(x: Node, *, rho: float) -> Node:
    active = mean(x, axes=0)
    idle = sub(1.0, active)
    entropy = rho * float(np.log(rho)) + (1 - rho) * float(np.log1p(-rho))
    crossed = add(mul(log(active), rho), mul(log(idle), 1 - rho))
    total: Node = sum(add(neg(crossed), entropy))
    return total


# It has no numpy of its own: where m is near rho the terms cancel, and only the decomposition says
# how much of the answer is rounding.
SPARSITY: Op = layer(
    "sparsity", rule=_sparsity_rule, build=sparsity, decompose=_sparsity_decompose,
    arity=1,
    samples=(sample("f32[N,5]", values="unit", rho=0.05),
             sample("f64[N,2,3]", values="unit", rho=0.2), sample("f64[4]", values="unit", rho=0.5),
             sample("f32[N,5]", values="unit", rho=0.0, raises="rho"),
             sample("f32[]", values="unit", rho=0.1, raises="no batch axis")),
)  # fmt: skip
