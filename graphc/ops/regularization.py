"""Dropout with an explicit key.

Two dropouts differ by key or stream, so they never merge and always replay.
"""

from __future__ import annotations

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, TensorType, whole_numbers
from graphc.ops.create import full, plain_number, random_uniform
from graphc.ops.elementwise import less_equal, mul, where
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Op, sample


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
             sample("f32[N,6]", "i32[]", rate=1.0, stream=0, raises="rate")),
)  # fmt: skip
