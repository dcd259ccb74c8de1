"""Say what graphc runs on: versions, processor, threads, backends, every setting with its value;
then compile and run a small network on each backend and compare the results."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any

import numpy as np

import graphc
from graphc.base import settings
from graphc.base.errors import GraphcError
from graphc.cli.output import print_json, print_rich
from graphc.compiler import compile
from graphc.inspect.render import table
from graphc.ir.graph import Graph
from graphc.runtime.backend import BUILT_IN, GROUP, load_backend
from graphc.testing.draw import random_inputs
from graphc.tracing.trace import trace
from graphc_nn.zoo import NETWORKS

DEPENDENCIES = ("numpy", "llvmlite", "networkx", "rich", "safetensors", "hypothesis", "pytest")
TESTED = "lenet5"
SAMPLES = 16
CLOSE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Prints what was found; returns 1 if a backend fails or computes something else."""
    backends = _backends()
    healthy = all(b["ok"] for b in backends if "missing" not in b)
    facts = {
        "graphc": graphc.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in DEPENDENCIES},
        "backends": backends,
        "settings": [
            {"variable": s.variable, "meaning": s.meaning, "value": s.text(), "default": s.default}
            for s in settings.ALL
        ],
        "healthy": healthy,
    }
    if arguments.json:
        print_json(facts)
    else:
        _print(facts)
    return 0 if healthy else 1


def _backends() -> list[dict[str, Any]]:
    """Every backend that is found: what it says of itself, and how the self-test went."""
    names = sorted(BUILT_IN.keys() | {e.name for e in entry_points(group=GROUP)})
    network = NETWORKS[TESTED]
    graph = trace(network.build(), *network.input_types, name=TESTED)
    inputs = random_inputs(graph, SAMPLES, np.random.default_rng(0))
    inputs = {name: 0.1 * value for name, value in inputs.items()}
    expected = compile(graph, "numpy")(**inputs)
    return [_tested(name, graph, inputs, expected) for name in names]


def _tested(name: str, graph: Graph, inputs: dict[str, Any], expected: Any) -> dict[str, Any]:
    begin = time.perf_counter()
    try:
        backend = load_backend(name)
        described, missing = backend.describe(), backend.missing()
        if missing is not None:
            return {"name": name, "ok": False, "missing": missing, "about": described}
        found = compile(graph, name, precision="f32")(**inputs)
    except (GraphcError, ImportError, AttributeError, OSError) as error:
        return {"name": name, "ok": False, "problem": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - begin
    difference = float(np.abs(found - expected).max())
    facts = {"name": name, "ok": difference < CLOSE, "seconds": seconds, "difference": difference}
    return facts | {"about": described}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print(facts: dict[str, Any]) -> None:
    print(f"graphc {facts['graphc']}, Python {facts['python']} on {facts['system']}, "
          f"{facts['cores']} cores, {sys.executable}")  # fmt: skip
    packages = [f"{name} {found or 'absent'}" for name, found in facts["packages"].items()]
    print(", ".join(packages))
    rows = []
    for backend in facts["backends"]:
        about = ", ".join(f"{k} {v}" for k, v in backend.get("about", {}).items())
        result = (
            backend.get("problem")
            or backend.get("missing")
            or (f"{1e3 * backend['seconds']:.0f} ms, {backend['difference']:.1e} from numpy")
        )
        state = "ok" if backend["ok"] else "absent" if "missing" in backend else "FAILS"
        rows.append((backend["name"], state, result, about))
    test = f"{TESTED}, {SAMPLES} samples: compiled and run"
    print_rich(table("backends", ("name", "", test, "about"), rows))
    chosen = [(s["variable"], s["value"] or "(unset)", s["meaning"]) for s in facts["settings"]]
    print_rich(table("settings", ("variable", "value", "meaning"), chosen))
    print("all is well" if facts["healthy"] else "a backend fails: see above")
