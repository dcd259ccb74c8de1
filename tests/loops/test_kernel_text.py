"""Kernels as text: what is used several times is written once, under a name."""

from __future__ import annotations

import re

import graphc as gc
from graphc import nn
from graphc.loops.lower import lower
from graphc.loops.schedule import Machine
from graphc.passes.pipelines import SMALL


def text_of(net: nn.Module) -> str:
    graph = SMALL(gc.trace(net, "f32[N,4]", training=True, name="net"))
    (kernel,) = (lower(n, Machine(64, 32)) for n in graph.nodes if n.op.name == "fused")
    return str(kernel)


def test_the_rounds_of_a_random_number_are_a_line_each() -> None:
    lines = text_of(nn.Sequential(nn.Dense(8), nn.Dropout(0.5))).splitlines()
    assert max(map(len, lines)) < 200
    begin = next(k for k, line in enumerate(lines) if line.lstrip().startswith("v0 = "))
    known: set[str] = set()
    for line in lines[begin:]:
        name, _, value = line.strip().partition(" = ")
        assert set(re.findall(r"\bv\d+\b", value)) <= known
        if not name.startswith("v"):
            break
        assert name not in known
        known.add(name)
    assert len(known) > 20


def test_what_is_used_once_stays_where_it_is() -> None:
    text = text_of(nn.Sequential(nn.Dense(8), nn.Tanh()))
    assert "v0" not in text
    assert "= tanh((acc[mu, l] + in2[l]))" in text
