"""Time a network on random data: the first call, the median of many, memory, and where the time
goes, kernel by kernel and layer by layer, against what this machine can do."""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.cli.networks import add_network, network_named
from graphc.cli.output import print_json, print_rich
from graphc.inspect.render import scaled
from graphc.ir.node import Node
from graphc.runtime.backend import PRECISIONS, load_backend
from graphc.runtime.profile import Profile
from graphc.testing.draw import random_inputs
from graphc.train.model import Model
from graphc.train.optim import SGD

OPTIMIZER = SGD(0.001, momentum=0.9)  # small: the loss of random data stays finite
LONGEST = 12
LEAST_CALLS, WARMING_CALLS = 3, 2
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    add_network(parser)
    parser.add_argument("--train", action="store_true", help="training steps; else predictions")
    parser.add_argument("--batch", type=int, default=1, help="samples of a call (default: 1)")
    parser.add_argument("--size", type=int, help="rows and columns of images; default: the usual")
    parser.add_argument("--threads", type=int, help="default: every core")
    parser.add_argument("--backend", default="llvm", help="default: llvm")
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of products (default: the backend's own)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="for how long to repeat the call (default: 2)"
    )
    parser.add_argument(
        "--all", action="store_true", help=f"every kernel as it runs; else the {LONGEST} longest"
    )
    parser.add_argument(
        "--trace", metavar="FILE", help="write one step as a timeline for https://ui.perfetto.dev"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints times, memory and the tables."""
    _check(arguments)
    before = _peak_bytes()
    model = _model(arguments)
    call = _call(model, arguments)
    begin = time.perf_counter()
    call()
    first = time.perf_counter() - begin
    times = _repeated(call, arguments.seconds)
    step = statistics.median(times)
    peak = _peak_bytes()  # before the kernels are timed, which copies what they write
    executable = model.executable("train" if arguments.train else "forward")
    profiles = executable.profiles()
    facts = {
        "net": arguments.net,
        "work": "training step" if arguments.train else "prediction",
        "inputs": [str(i.tensor) for i in _data(model)],
        "batch": arguments.batch,
        "precision": load_backend(arguments.backend).check_precision(arguments.precision),
        "first_step_seconds": first,
        "phases": model.report()["phases"],
        "step_seconds": step,
        "steps": len(times),
        "samples_per_second": arguments.batch / step,
        "planned_bytes": model.report()["planned_bytes"],
        "peak_bytes": peak,
        "peak_growth_bytes": peak - before,
        "trace": arguments.trace,
    }
    if arguments.trace is not None:
        _save_trace(arguments.trace, profiles)
    if arguments.json:
        print_json(facts | {"profiles": [p.to_dict() for p in profiles]})
        return 0
    _show(facts)
    _show_profiles(profiles, None if arguments.all else LONGEST)
    if not profiles:
        print(f"\n{executable.explain()}")
    return 0


def _save_trace(path: str, profiles: Sequence[Profile]) -> None:
    """Writes the first profile, that of the call; others are of what is computed once."""
    if not profiles:
        raise GraphcError(
            "--trace of a backend that times no kernels", remedy="leave out --backend, or --trace"
        )
    profiles[0].save_trace(path)


def _show_profiles(profiles: Sequence[Profile], longest: int | None) -> None:
    """Tables on a terminal, lines of any length elsewhere."""
    for profile in profiles:
        print()
        if sys.stdout.isatty():
            print_rich(profile.table(longest))
        else:
            print(profile.text(longest))


def _check(arguments: argparse.Namespace) -> None:
    """Raises GraphcError for numbers that mean nothing."""
    if arguments.batch < 1:
        raise GraphcError(f"--batch {arguments.batch}", remedy="give a number above 0")
    if not 0.0 <= arguments.seconds < math.inf:
        raise GraphcError(
            f"--seconds {arguments.seconds}", remedy="give a finite number, at least 0"
        )


def _model(arguments: argparse.Namespace) -> Model:
    """The network with its usual loss, and with SGD with momentum if it is to train."""
    network = network_named(arguments.net, arguments.size)
    return Model(
        network.build(),
        network.input_type,
        loss=network.loss,
        optimizer=OPTIMIZER if arguments.train else None,
        backend=arguments.backend,
        threads=arguments.threads,
        precision=arguments.precision,
    )


def _data(model: Model) -> list[Node]:
    return [i for i in model.graphs["forward"].inputs if i.attrs["kind"] == "data"]


def _call(model: Model, arguments: argparse.Namespace) -> Callable[[], Any]:
    """What is timed: a step or a prediction on one random batch."""
    graph = model.executable("evaluate").graph if arguments.train else model.graphs["forward"]
    drawn = random_inputs(graph, arguments.batch, np.random.default_rng(0), kind="data")
    x = tuple(drawn.pop(i.attrs["name"]) for i in _data(model))
    targets = tuple(drawn.values())
    if not arguments.train:
        return partial(model.predict, x)
    return partial(model.step, x, targets if len(targets) > 1 else targets[0])


def _repeated(call: Callable[[], Any], seconds: float) -> list[float]:
    """The seconds of calls, after some to warm up, for about as long as that."""
    for _ in range(WARMING_CALLS):
        call()
    times: list[float] = []
    while len(times) < LEAST_CALLS or sum(times) < seconds:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return times


def _peak_bytes() -> int:
    """The most memory that the process has had resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT


def _show(facts: dict[str, Any]) -> None:
    phases = ", ".join(f"{name} {1e3 * s:.0f} ms" for name, s in facts["phases"].items())
    what = f"{facts['work']} in {facts['precision']}, batch {facts['batch']}"
    print(f"{facts['net']}: {what}, {' '.join(facts['inputs'])}")
    print(f"first step  {facts['first_step_seconds']:.2f} s" + (f" ({phases})" if phases else ""))
    print(
        f"later       {1e3 * facts['step_seconds']:.3g} ms (median of {facts['steps']}), "
        f"{facts['samples_per_second']:,.1f} samples/s"
    )
    print(
        f"memory      {scaled(facts['planned_bytes'], 'B')} planned for what is computed on the "
        f"way; {scaled(facts['peak_bytes'], 'B')} resident at the most, "
        f"{scaled(facts['peak_growth_bytes'], 'B')} of it since the start"
    )
    if facts["trace"] is not None:
        print(f"trace       {facts['trace']}")
