"""What running a compiled step takes beside its code, kept on disk: no pass runs and nothing is
lowered for a graph that was compiled before.

A record is found by the text of the graph and by all that turns it into code: the pipeline, the
processor, the settings, and graphc's own sources. What those do not cover is never kept: ops and
passes from elsewhere, pipelines that somebody watches, sources that changed while they ran.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

import graphc.runtime
from graphc.base import settings
from graphc.base.source import LOADED
from graphc.ir.graph import Graph
from graphc.ir.node import OPERATORS
from graphc.ir.text import graph_text
from graphc.ir.types import TensorType, parse_type
from graphc.loops.language import Amount
from graphc.loops.memory import buffer_bytes
from graphc.ops import OWN
from graphc.passes.base import Pipeline
from graphc.passes.instruments import from_settings
from graphc.passes.pack_parameters import packed_layouts
from graphc.passes.plan_memory import MemoryPlan, Storage, packed
from graphc.runtime.program import Program
from graphc_llvm.engine import host_facts

SOURCES = (Path(graphc.runtime.__file__).parents[1], Path(__file__).parent)
INDIFFERENT = (settings.CACHE, settings.NUM_THREADS)
CLOCK_SLACK = 1.0  # seconds between what files and processes call now


@dataclass(frozen=True)
class Temporary:
    """A value in the arena: its slot, and the first and the last phase in which it is used."""

    type: TensorType
    slot: int
    first: int
    last: int


@dataclass(frozen=True)
class StepRecord:
    """A compiled step. code: digest of its module's text. outputs: (slot, number, type) of each
    result that is not written over an input. flops: arithmetic of one run. inputs: how many there
    are, those that passes added included. layouts: of those that are not row-major, by name.
    """

    code: str
    slots: int
    temporaries: tuple[Temporary, ...]
    outputs: tuple[tuple[int, int, TensorType], ...]
    flops: Amount
    inputs: int
    layouts: dict[str, str]

    @staticmethod
    def of(program: Program, code: str) -> StepRecord:
        """The record of a program whose module's text has the digest `code`."""
        lifetimes = program.scheduled.lifetimes
        temporaries = tuple(
            Temporary(s.type, program.slots[s], *lifetimes[s])
            for s in program.scheduled.temporaries
        )
        flops = sum((call.kernel.flops for call in program.calls), Amount())
        outputs = tuple((s, k, program.graph.outputs[k].tensor) for s, k in program.outputs)
        return StepRecord(
            code,
            len(program.slots),
            temporaries,
            outputs,
            flops,
            len(program.graph.inputs),
            packed_layouts(program.graph),
        )

    @staticmethod
    def parse(content: bytes) -> StepRecord:
        """The record that `bytes` made `content` of."""
        code, slots, temporaries, outputs, flops, inputs, layouts = json.loads(content)
        return StepRecord(
            code,
            slots,
            tuple(Temporary(_tensor(text), *numbers) for text, *numbers in temporaries),
            tuple((slot, number, _tensor(text)) for slot, number, text in outputs),
            Amount(*flops),
            inputs,
            layouts,
        )

    def __bytes__(self) -> bytes:
        temporaries = [(str(t.type), t.slot, t.first, t.last) for t in self.temporaries]
        flops = self.flops.fixed, self.flops.sample
        outputs = [(slot, number, str(type)) for slot, number, type in self.outputs]
        facts = (self.code, self.slots, temporaries, outputs, flops, self.inputs, self.layouts)
        return json.dumps(facts).encode()

    def plan(self, n: int) -> tuple[MemoryPlan, dict[int, int]]:
        """Where every temporary lies for batch size n; and slot -> offset in the arena."""
        lifetimes = {
            Storage("temporary", k, t.type): (t.first, t.last)
            for k, t in enumerate(self.temporaries)
        }
        memory = packed(lifetimes, [buffer_bytes(t.type, n) for t in self.temporaries])
        places = {self.temporaries[s.number].slot: at for s, at in memory.offsets.items()}
        return memory, places


def record_origin(graph: Graph, pipeline: Pipeline) -> bytes | None:
    """All that the record of `graph` depends on; None if it depends on more than can be told."""
    sources = _sources()
    if sources is None or from_settings() or not _is_own(pipeline):
        return None
    facts = {
        "graph": hashlib.sha256(graph_text(graph, notes=False).encode()).hexdigest(),
        "pipeline": str(pipeline),
        "settings": {s.variable: s.text() for s in settings.ALL if s not in INDIFFERENT},
        "sources": sources,
        "numpy": np.__version__,
        "python": platform.python_version(),
        **host_facts(),
    }
    return json.dumps(facts, sort_keys=True).encode()


def _tensor(text: str) -> TensorType:
    found = parse_type(text)
    assert isinstance(found, TensorType)
    return found


@cache
def _sources() -> str | None:
    """Digest of graphc's source files; None if they are not those that run or are not there."""
    digest, count = hashlib.sha256(), 0
    for folder in SOURCES:
        for file in sorted(folder.rglob("*.py")):
            if file.stat().st_mtime > LOADED - CLOCK_SLACK:
                return None
            content = file.read_bytes()
            digest.update(f"{file.relative_to(folder)} {len(content)}\n".encode() + content)
            count += 1
    return digest.hexdigest() if count else None


def _is_own(pipeline: Pipeline) -> bool:
    """Whether every op that exists (its rules may touch any graph) and every pass of the pipeline
    is graphc's, and the passes' text says all there is to them.
    """
    return OWN.issuperset(OPERATORS.values()) and all(
        type(step).__module__.startswith("graphc.") and all(f.compare for f in fields(step))
        for step in pipeline.passes
    )
