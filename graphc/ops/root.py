"""The square root of what may be zero: norms and deviations are differentiated through it."""

from __future__ import annotations

import numpy as np

from graphc.ir.node import Node
from graphc.ops.elementwise import div, equal, mul, where
from graphc.ops.families import elementwise
from graphc.ops.op import Builder, Op, sample


def _slope(g: Node, y: Node) -> Node:
    """g / (2 y), and 0 where y is 0; no division by 0 is hidden behind the choice."""
    none = equal(y, 0.0)
    divided: Node = where(none, 0.0, div(mul(g, 0.5), where(none, 1.0, y)))
    return divided


ROOT: Op = elementwise(
    "root", arity=1,
    samples=(sample("f32[N,3]", values="positive"), sample("f64[4]", values="positive")),
    numpy=np.sqrt, body=lambda s, x: s.sqrt(x),
    vjp=lambda g, y, x: (_slope(g, y),),
    doc="The square root; its derivatives at 0 are taken as 0, of every order.",
)  # fmt: skip
root: Builder = ROOT.build
