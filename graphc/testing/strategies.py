"""Hypothesis strategies: random graphs that shrink to small ones."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from graphc.ir.graph import Graph
from graphc.ir.types import DType
from graphc.testing.generate import random_graph


@st.composite
def graphs(
    draw: st.DrawFn,
    *,
    max_ops: int = 12,
    dtypes: Sequence[DType] = (DType.f32,),
    with_gradients: int = 25,
    ops: Sequence[str] | None = None,
) -> Graph:
    """Random well-typed graphs of about 1 to `max_ops` ops over all declared ops that have samples.

    Inputs have random shapes with and without N. dtypes: float dtypes of a graph's inputs, one for
    each graph. with_gradients: in how many of a hundred graphs some outputs are gradients. ops:
    names of the ops to draw from, all by default.
    """
    dtype = draw(st.sampled_from(list(dtypes)))
    return random_graph(
        lambda bound: draw(st.integers(0, bound - 1)),
        max_ops=max_ops,
        dtype=dtype,
        with_gradients=with_gradients,
        ops=ops,
    )
