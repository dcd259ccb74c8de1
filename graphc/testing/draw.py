"""Arrays for tests: values drawn by type and by what the values are for.

The kinds are those that an op's samples name: "normal", "positive", "distinct" (no two elements
close to each other), "labels:10" (whole numbers below 10), "labels:3:10" (and not below 3),
"probability" (rows that sum to 1) and "unit" (between 0 and 1). It knows types and samples, not
graphs' meaning.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType, parse_type
from graphc.ops.op import Sample

Array = np.ndarray[Any, Any]
KEYED = ("dropout", "random_uniform")
LABELLED = "softmax_cross_entropy"


def draw(type: TensorType, n: int, rng: np.random.Generator, kind: str = "normal") -> Array:
    """An array of `type` with N = n.

    Raises GraphcError for a kind that does not exist.
    """
    shape = type.concrete(n)
    if type.dtype is DType.bool:
        return np.asarray(rng.random(shape) < 0.5)
    if kind.startswith("labels:"):
        low, high = [0, *map(int, kind[7:].split(":"))][-2:]
        return np.asarray(rng.integers(low, high, shape), type.dtype.numpy)
    if not type.dtype.is_float:
        return np.asarray(rng.integers(-4, 10, shape), type.dtype.numpy)
    return np.asarray(_floats(shape, rng, kind), type.dtype.numpy)


def _floats(shape: tuple[int, ...], rng: np.random.Generator, kind: str) -> Any:
    normal = rng.standard_normal(shape)
    if kind == "normal":
        return normal
    if kind == "positive":
        return 0.5 + np.abs(normal)
    if kind == "unit":
        return 1 / (1 + np.exp(-normal))
    if kind == "distinct":
        count = normal.size
        return (rng.permutation(count).reshape(shape) - count / 2) * min(0.1, 6 / max(count, 1))
    if kind == "probability":
        weights = np.exp(normal)
        return weights / weights.sum(axis=-1, keepdims=True)
    raise GraphcError(
        f"there is no way to draw {kind!r} values",
        remedy="kinds: normal, positive, distinct, labels:COUNT, labels:LOW:HIGH, "
        "probability, unit",
    )


def sample_inputs(sample: Sample, n: int, rng: np.random.Generator) -> list[Array]:
    """One array for each input of an op's sample."""
    kinds = (
        (sample.values,) * len(sample.types) if isinstance(sample.values, str) else sample.values
    )
    return [
        draw(parse_type(text), n, rng, kind) for text, kind in zip(sample.types, kinds, strict=True)
    ]


def random_inputs(
    graph: Graph, n: int, rng: np.random.Generator, *, kind: str | None = None
) -> dict[str, Array]:
    """An array for every input of `graph`, by name, with N = n.

    kind: only for inputs of that kind, such as "data". Labels are class numbers within the range of
    the logits they meet; random keys are any 32 bits.
    """
    users = graph.users()
    return {
        node.attrs["name"]: draw(node.tensor, n, rng, _kind(node, users[node]))
        if not _is_key(node, users[node])
        else np.asarray(rng.integers(-(2**31), 2**31), np.int32)
        for node in graph.inputs
        if kind in (None, node.attrs["kind"])
    }


def _is_key(node: Node, users: list[Node]) -> bool:
    return node.tensor == TensorType(DType.i32, ()) and any(u.op.name in KEYED for u in users)


def _kind(node: Node, users: list[Node]) -> str:
    if node.tensor.dtype.is_float:
        return "normal"
    classes = [
        u.inputs[0].tensor.shape[1] for u in users if u.op.name == LABELLED and u.inputs[1] is node
    ]
    known = [c for c in classes if isinstance(c, int)]
    return f"labels:{min(known)}" if known else "normal"
