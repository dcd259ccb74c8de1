"""The default pipelines, each line with the reason for its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc.base import settings
from graphc.passes.base import Pass, Pipeline
from graphc.passes.batch_last import BatchLast
from graphc.passes.bfloat16 import Bfloat16, RoundProducts
from graphc.passes.block_channels import BlockChannels
from graphc.passes.channels_last import ChannelsLast
from graphc.passes.decompose import Decompose
from graphc.passes.fold_flatten import FoldFlatten
from graphc.passes.fuse import Fuse
from graphc.passes.in_place import InPlace
from graphc.passes.narrow_images import NarrowImages
from graphc.passes.outputs import SeparateOutputs
from graphc.passes.pack_parameters import PackParameters
from graphc.passes.pad_windows import PadWindows
from graphc.passes.pool_first import PoolFirst
from graphc.passes.simplify import Simplify
from graphc.passes.split_reductions import SplitReductions
from graphc.passes.winograd import Winograd

SMALL = Pipeline((
    Decompose(),  # first: rules and kernels are about primitives
    Simplify(),  # before fusion, so that no kernel computes what a rule removes
    PoolFirst(),  # before fusion as well, which puts activations where their input is computed
    Winograd(),  # before layouts, which it has its own of
    BlockChannels(),  # wide layers: channels run in lanes
    PadWindows(),  # others: rows of pixels run in lanes, and lanes have no ends to test for
    SeparateOutputs(),  # every output gets memory of its own
    Fuse(),  # nodes become kernels
    InPlace(),  # last: it asks which kernel reads what another overwrites
))  # fmt: skip

LARGE = Pipeline((
    Decompose(),  # as above
    Simplify(),
    PoolFirst(),
    Winograd(batch=64),
    BlockChannels(batch=64),  # as above, where that is faster than lanes of samples
    BatchLast(),  # elsewhere samples run in lanes
    PadWindows(),  # after the layout, which decides where padding is in the way
    SeparateOutputs(),
    Fuse(),
    InPlace(),
))  # fmt: skip

DEVICE = Pipeline((
    Decompose(),  # as above
    Simplify(),
    PoolFirst(),
    SplitReductions(),  # before layouts, which partial sums have as well
    ChannelsLast(),  # before fusion: copies become parts of the kernels beside them
    SeparateOutputs(),
    Fuse(),
    InPlace(),
))  # fmt: skip

BACKEND = {"small": SMALL, "large": LARGE}
LARGE_BATCH = 16  # samples: as many as the lanes of the widest vectors


def backend_pipelines(precision: str = "f32") -> dict[str, Pipeline]:
    """The pipelines of backends that generate code, by batch, as the settings have them.

    precision: "f32", or "bf16" for operands of contractions that are rounded.
    """
    return {name: _adapted(pipeline, precision) for name, pipeline in BACKEND.items()}


def device_pipelines(precision: str = "tf32") -> dict[str, Pipeline]:
    """The pipelines of backends for graphics processors, which run all batches alike.

    precision: "f32", "tf32" (both read and write f32), or "bf16" for mixed precision.
    """
    passes: list[Pass] = []
    for step in DEVICE.passes:
        if isinstance(step, ChannelsLast) and precision == "bf16":
            passes.append(RoundProducts())
        passes.append(step)
        if isinstance(step, Fuse) and precision == "bf16":
            passes.append(NarrowImages())  # it asks what lies in memory between kernels
    return {"any": Pipeline(tuple(passes))}


def with_packed_parameters(pipelines: Mapping[str, Pipeline]) -> dict[str, Pipeline]:
    """The pipelines for whoever keeps parameters between steps in the layouts that steps want."""
    found = {}
    for name, pipeline in pipelines.items():
        passes: list[Pass] = []
        for step in pipeline.passes:
            passes.append(step)
            if isinstance(step, BlockChannels):
                passes.append(FoldFlatten())  # after the layouts: it asks what is stored in blocks
            if isinstance(step, BlockChannels | ChannelsLast):
                passes.append(PackParameters())  # after all layouts that parameters may have
        found[name] = Pipeline(tuple(passes))
    return found


def _adapted(pipeline: Pipeline, precision: str) -> Pipeline:
    passes: list[Pass] = []
    for step in pipeline.passes:
        if isinstance(step, BlockChannels) and precision == "bf16":
            passes.append(Bfloat16(step.batch))  # before layouts, of which bf16 has its own
        if not isinstance(step, Winograd):
            passes.append(step)
        elif settings.WINOGRAD.on():
            passes.append(replace(step, rate=2.0) if precision == "bf16" else step)
    return Pipeline(tuple(passes))
