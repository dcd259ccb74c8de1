"""Products of every shape, as graphs of one node."""

from __future__ import annotations

from dataclasses import dataclass

import graphc as gc
from graphc.ir.graph import Graph

OPS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")


@dataclass(frozen=True)
class Convolution:
    """A convolution of `n` images, and both of its gradients."""

    n: int
    channels: int
    maps: int
    size: tuple[int, int]
    window: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def result(self) -> tuple[int, int]:
        """Pixels of the result, down and across."""
        top, bottom, left, right = self.padding
        down = self._extent(0, top + bottom)
        return down, self._extent(1, left + right)

    def _extent(self, axis: int, padding: int) -> int:
        reach = (self.window[axis] - 1) * self.dilation[axis] + 1
        return (self.size[axis] + padding - reach) // self.stride[axis] + 1

    def graph(self, op: str) -> Graph:
        """One of `OPS` of this shape."""
        window = f"{self.window[0]},{self.window[1]}"
        weights = f"f32[{self.maps},{self.channels // self.groups},{window}]"
        image = f"f32[N,{self.channels},{self.size[0]},{self.size[1]}]"
        result = f"f32[N,{self.maps},{self.result[0]},{self.result[1]}]"
        left, right, out, more = {
            "conv2d": (image, weights, result, ""),
            "conv2d_input_grad": (result, weights, image, f", size={self.size}"),
            "conv2d_weight_grad": (image, result, weights, f", window={self.window}"),
        }[op]
        return gc.parse(f"""graph f(%a: {left}, %b: {right}) {{
          %y = {op}(%a, %b) {{dilation={self.dilation}, groups={self.groups},
            padding={self.padding}, stride={self.stride}{more}}} : {out}
          return %y
        }}""")


@dataclass(frozen=True)
class Dense:
    """A product of matrices. turned: which operands are transposed."""

    rows: int
    summed: int
    columns: int
    turned: tuple[str, ...] = ()

    def graph(self) -> Graph:
        """The product, of operands as they lie."""
        shapes = {"a": (self.rows, self.summed), "b": (self.summed, self.columns)}
        given, lines, factors = [], [], []
        for name, (down, across) in shapes.items():
            turned = name in self.turned
            given.append(
                f"%{name}: f32[{across},{down}]" if turned else f"%{name}: f32[{down},{across}]"
            )
            factors.append(f"%t{name}" if turned else f"%{name}")
            if turned:
                lines.append(
                    f"%t{name} = transpose(%{name}) {{axes=(1, 0)}} : f32[{down},{across}]"
                )
        result = f"f32[{self.rows},{self.columns}]"
        lines.append(f"%y = matmul({', '.join(factors)}) : {result}")
        return gc.parse(f"graph f({', '.join(given)}) {{ {' '.join(lines)} return %y }}")


# Sizes that are multiples of nothing, on purpose; then those of networks.
CONVOLUTIONS = {
    "plain": Convolution(9, 24, 40, (29, 31)),
    "one tile and a bit": Convolution(9, 32, 72, (15, 17)),
    "odd channels": Convolution(9, 13, 19, (29, 31)),
    "three channels": Convolution(5, 3, 32, (62, 63), (7, 7), (2, 2)),
    "strided": Convolution(9, 16, 24, (29, 31), stride=(2, 1)),
    "point": Convolution(9, 48, 24, (29, 31), (1, 1), padding=(0, 0, 0, 0)),
    "dilated": Convolution(9, 16, 16, (29, 31), dilation=(2, 2), padding=(2, 2, 2, 2)),
    "grouped": Convolution(9, 32, 48, (29, 31), groups=2),
    "depthwise": Convolution(9, 24, 24, (29, 31), groups=24),
    "uneven padding": Convolution(9, 16, 16, (29, 31), (2, 3), padding=(0, 1, 2, 0)),
    "wide": Convolution(8, 64, 128, (28, 28)),
    "wide, strided": Convolution(8, 128, 128, (28, 28), stride=(2, 2)),
    "deep": Convolution(8, 256, 256, (14, 14)),
    "deep point": Convolution(8, 512, 128, (14, 14), (1, 1), padding=(0, 0, 0, 0)),
    "stem": Convolution(4, 3, 64, (112, 112), (7, 7), (2, 2), (3, 3, 3, 3)),
    "eleven by eleven": Convolution(4, 3, 96, (115, 115), (11, 11), (4, 4), (0, 0, 0, 0)),
}
TURNS: tuple[tuple[str, ...], ...] = ((), ("a",), ("b",), ("a", "b"))
DENSE = {
    f"{rows} x {summed} x {columns}, {' and '.join(turned) or 'nothing'} turned": Dense(
        rows, summed, columns, turned
    )
    for rows, summed, columns in ((333, 517, 129), (512, 1024, 768), (64, 4096, 1000), (7, 33, 17))
    for turned in TURNS
}
# For a run without a device: one of each kind.
TINY_CONVOLUTIONS = {
    "plain": Convolution(2, 8, 12, (5, 7)),
    "strided": Convolution(2, 3, 8, (7, 7), stride=(2, 1)),
}
TINY_DENSE = {"33 x 17 x 9, b turned": Dense(33, 17, 9, ("b",))}
