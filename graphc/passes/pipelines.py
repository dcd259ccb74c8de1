"""The default pipelines, each line with the reason for its place."""

from __future__ import annotations

from graphc.base import settings
from graphc.passes.base import Pipeline
from graphc.passes.batch_last import BatchLast
from graphc.passes.block_channels import BlockChannels
from graphc.passes.decompose import Decompose
from graphc.passes.fuse import Fuse
from graphc.passes.in_place import InPlace
from graphc.passes.outputs import SeparateOutputs
from graphc.passes.pad_windows import PadWindows
from graphc.passes.simplify import Simplify
from graphc.passes.winograd import Winograd

SMALL = Pipeline((
    Decompose(),  # first: rules and kernels are about primitives
    Simplify(),  # before fusion, so that no kernel computes what a rule removes
    Winograd(),  # before layouts, which it has its own of
    BlockChannels(),  # wide networks: channels run in lanes
    PadWindows(),  # others: rows of pixels run in lanes, and lanes have no ends to test for
    SeparateOutputs(),  # every output gets memory of its own
    Fuse(),  # nodes become kernels
    InPlace(),  # last: it asks which kernel reads what another overwrites
))  # fmt: skip

LARGE = Pipeline((
    Decompose(),  # as above
    Simplify(),
    Winograd(maps=64),
    BlockChannels(maps=64),  # as above, if there are too many channels for many samples
    BatchLast(),  # else samples run in lanes
    PadWindows(),  # after the layout, which decides where padding is in the way
    SeparateOutputs(),
    Fuse(),
    InPlace(),
))  # fmt: skip

BACKEND = {"small": SMALL, "large": LARGE}


def backend_pipelines() -> dict[str, Pipeline]:
    """The pipelines of backends that generate code, by batch, as the settings have them."""
    if settings.WINOGRAD.on():
        return BACKEND
    return {
        name: Pipeline(tuple(p for p in pipeline.passes if not isinstance(p, Winograd)))
        for name, pipeline in BACKEND.items()
    }
