"""The default pipelines, each line with the reason for its place."""

from __future__ import annotations

from graphc.passes.base import Pipeline
from graphc.passes.decompose import Decompose
from graphc.passes.fuse import Fuse
from graphc.passes.outputs import SeparateOutputs

SMALL = Pipeline((
    Decompose(),  # kernels are made of primitives
    SeparateOutputs(),  # every output gets memory of its own
    Fuse(),  # last: nodes become kernels
))  # fmt: skip
BACKEND = {"small": SMALL, "large": SMALL}
