"""Convolutions side by side with PyTorch, shape by shape: forward, gradient of the input, gradient
of the weights.

    python tests/benchmarks/convolutions.py [--rounds 3] [--only stem,depthwise]

Prints a table in Markdown: milliseconds of graphc and PyTorch on as many threads as there are
cores, and how many times faster graphc is. A call goes from row-major images to row-major images on
both sides: what each does to bring them into its own layout counts. Needs graphc and torch in one
environment; both run in this process, in turn, and the best round of each counts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gc

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the folder of tests

from tests.benchmarks.timing import median


@dataclass(frozen=True)
class Shape:
    """A convolution of `n` images of `size` x `size`."""

    group: str
    n: int
    channels: int
    maps: int
    size: int
    window: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    transposed: bool = False

    def __str__(self) -> str:
        text = (
            f"{self.n} x {self.channels} x {self.size}² → {self.maps}, {self.window}x{self.window}"
        )
        text += ", transposed" if self.transposed else ""
        for name, value, usual in (
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
            ("groups", self.groups, 1),
        ):
            text += f", {name} {value}" if value != usual else ""
        return text

    @property
    def out(self) -> int:
        """Pixels of a result's side."""
        reach = self.dilation * (self.window - 1) + 1
        if self.transposed:
            return (self.size - 1) * self.stride + reach - 2 * self.padding
        return (self.size - reach + 2 * self.padding) // self.stride + 1

    @property
    def options(self) -> dict[str, int]:
        """What PyTorch's functions are told beside the operands."""
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    @property
    def opposite(self) -> Shape:
        """The plain convolution whose input gradient a transposed one is."""
        return replace(
            self, channels=self.maps, maps=self.channels, size=self.out, transposed=False
        )


SHAPES = (
    # classic small networks
    Shape("small", 64, 1, 6, 32, 5),
    Shape("small", 64, 6, 16, 14, 5),
    Shape("small", 64, 16, 120, 5, 5),
    Shape("small", 64, 3, 12, 32, 3, padding=1),
    Shape("small", 64, 12, 24, 16, 3, padding=1),
    Shape("small", 64, 20, 40, 13, 5),
    Shape("small", 64, 1, 20, 29, 4),
    Shape("small", 1, 6, 16, 14, 5),
    # first layers
    Shape("stem", 16, 3, 96, 227, 11, stride=4),
    Shape("stem", 4, 3, 64, 224, 7, stride=2, padding=3),
    Shape("stem", 4, 3, 64, 224, 3, padding=1),
    Shape("stem", 1, 3, 64, 224, 7, stride=2, padding=3),
    Shape("stem", 16, 3, 32, 64, 5, padding=2),
    # 3x3
    Shape("3x3", 4, 64, 64, 224, 3, padding=1),
    Shape("3x3", 4, 128, 128, 112, 3, padding=1),
    Shape("3x3", 4, 256, 256, 56, 3, padding=1),
    Shape("3x3", 4, 512, 512, 28, 3, padding=1),
    Shape("3x3", 4, 512, 512, 14, 3, padding=1),
    Shape("3x3", 8, 64, 64, 56, 3, padding=1),
    Shape("3x3", 8, 256, 256, 14, 3, padding=1),
    Shape("3x3", 8, 512, 512, 7, 3, padding=1),
    Shape("3x3", 1, 256, 256, 14, 3, padding=1),
    Shape("3x3", 1, 64, 64, 56, 3, padding=1),
    # 1x1
    Shape("1x1", 8, 64, 256, 56, 1),
    Shape("1x1", 8, 256, 64, 56, 1),
    Shape("1x1", 8, 512, 128, 28, 1),
    Shape("1x1", 8, 1024, 256, 14, 1),
    Shape("1x1", 8, 2048, 512, 7, 1),
    Shape("1x1", 8, 480, 192, 14, 1),
    Shape("1x1", 1, 256, 64, 56, 1),
    # strided
    Shape("strided", 8, 128, 128, 56, 3, stride=2, padding=1),
    Shape("strided", 8, 256, 256, 28, 3, stride=2, padding=1),
    Shape("strided", 8, 256, 512, 56, 1, stride=2),
    Shape("strided", 8, 1024, 2048, 14, 1, stride=2),
    # 5x5
    Shape("5x5", 8, 32, 96, 28, 5, padding=2),
    Shape("5x5", 16, 96, 256, 27, 5, padding=2),
    # grouped and depthwise
    Shape("grouped", 16, 96, 256, 27, 5, padding=2, groups=2),
    Shape("grouped", 8, 128, 128, 28, 3, padding=1, groups=4),
    Shape("depthwise", 8, 64, 64, 56, 3, padding=1, groups=64),
    Shape("depthwise", 8, 256, 256, 14, 3, padding=1, groups=256),
    Shape("depthwise", 8, 128, 128, 56, 3, stride=2, padding=1, groups=128),
    # dilated
    Shape("dilated", 8, 64, 64, 56, 3, padding=2, dilation=2),
    Shape("dilated", 8, 256, 256, 28, 3, padding=4, dilation=4),
    # transposed
    Shape("transposed", 8, 256, 128, 14, 2, stride=2, transposed=True),
    Shape("transposed", 8, 64, 32, 28, 4, stride=2, padding=1, transposed=True),
    Shape("transposed", 16, 512, 256, 4, 4, stride=2, padding=1, transposed=True),
    Shape("transposed", 4, 21, 21, 34, 4, stride=2, transposed=True),
    Shape("transposed", 8, 64, 64, 28, 3, padding=1, transposed=True),
    # channels that are no blocks of sixteen
    Shape("odd", 16, 8, 8, 32, 3, padding=1),
    Shape("odd", 16, 24, 24, 28, 3, padding=1),
    Shape("odd", 16, 5, 10, 28, 5),
)
KINDS = ("forward", "input gradient", "weight gradient")
OPPOSITE = dict(zip(KINDS, ("input gradient", "forward", "weight gradient"), strict=True))


def graphs(s: Shape) -> dict[str, str]:
    """The graph of each kind, as text."""
    x, g = f"f32[N,{s.channels},{s.size},{s.size}]", f"f32[N,{s.maps},{s.out},{s.out}]"
    w = f"f32[{s.maps},{s.channels // s.groups},{s.window},{s.window}]"
    attrs = f"dilation=({s.dilation}, {s.dilation}), groups={s.groups}, padding={(s.padding,) * 4}"
    step, size = f"stride=({s.stride}, {s.stride})", f"size=({s.size}, {s.size})"
    window = f"window=({s.window}, {s.window})"
    return {
        "forward": f"graph g(%x: {x}, %w: parameter {w}) {{\n"
        f"%y = conv2d(%x, %w) {{{attrs}, {step}}} : {g}\nreturn %y\n}}",
        "input gradient": f"graph g(%g: {g}, %w: parameter {w}) {{\n"
        f"%y = conv2d_input_grad(%g, %w) {{{attrs}, {size}, {step}}} : {x}\nreturn %y\n}}",
        "weight gradient": f"graph g(%x: {x}, %g: {g}) {{\n"
        f"%y = conv2d_weight_grad(%x, %g) {{{attrs}, {step}, {window}}} : {w}\nreturn %y\n}}",
    }


def calls(s: Shape, kind: str, torch: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """What graphc and PyTorch do for one measurement."""
    if s.transposed:
        ours, theirs = calls(s.opposite, OPPOSITE[kind], torch)
        return ours, _transposed(s, torch) if kind == "forward" else theirs
    generator = np.random.default_rng(0)
    x = generator.standard_normal((s.n, s.channels, s.size, s.size)).astype("f")
    w = generator.standard_normal((s.maps, s.channels // s.groups, s.window, s.window)).astype("f")
    g = generator.standard_normal((s.n, s.maps, s.out, s.out)).astype("f")
    run = gc.compile(gc.parse(graphs(s)[kind]), backend="llvm")
    names = {"forward": "xw", "input gradient": "gw", "weight gradient": "xg"}[kind]
    given = {name: {"x": x, "w": w, "g": g}[name] for name in names}
    held = {name: array for name, array in given.items() if name == "w"}
    data = [array for name, array in given.items() if name != "w"]
    session = run.bind(held, lambda: 0)
    tx, tw, tg = map(torch.from_numpy, (x, w, g))
    grad = torch.nn.grad
    theirs = {
        "forward": lambda: torch.nn.functional.conv2d(tx, tw, **s.options),
        "input gradient": lambda: grad.conv2d_input(x.shape, tw, tg, **s.options),
        "weight gradient": lambda: grad.conv2d_weight(tx, w.shape, tg, **s.options),
    }[kind]
    return (lambda: session(*data)), theirs


def _transposed(s: Shape, torch: Any) -> Callable[[], object]:
    """PyTorch's own transposed convolution."""
    x = torch.randn(s.n, s.channels, s.size, s.size)
    w = torch.randn(s.channels, s.maps // s.groups, s.window, s.window)
    return lambda: torch.nn.functional.conv_transpose2d(x, w, **s.options)


def milliseconds(call: Callable[[], object], seconds: float = 0.25) -> float:
    """The median of repeated calls, once threads that spin behind other calls are asleep."""
    time.sleep(0.2)
    call()
    return median(call, seconds)


def main() -> None:
    """Measures and prints."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="groups, separated by commas")
    options = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    wanted = [s for s in SHAPES if not options.only or s.group in options.only.split(",")]
    print("| shape | " + " | ".join(f"{k}: graphc, PyTorch | times faster" for k in KINDS) + " |")
    print("|---|" + "---|---|" * len(KINDS))
    ratios = []
    for shape in wanted:
        cells = []
        for kind in KINDS:
            ours, theirs = calls(shape, kind, torch)
            rounds = [(milliseconds(ours), milliseconds(theirs)) for _ in range(options.rounds)]
            mine, others = min(r[0] for r in rounds), min(r[1] for r in rounds)
            ratios.append(others / mine)
            cells += [f"{mine:.3g}, {others:.3g}", f"{others / mine:.2f}"]
        print(f"| {shape} | " + " | ".join(cells) + " |", flush=True)
    below = sum(r < 1 for r in ratios)
    print(f"\n{len(ratios)} measurements, {below} below 1; geometric mean "
          f"{statistics.geometric_mean(ratios):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
