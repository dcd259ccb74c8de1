"""What one pixel of each image sees of the input image, from the front of a graph on.

A window of F taps, `jump` input pixels apart, adds (F - 1) * jump; a stride multiplies the jump.
"""

from __future__ import annotations

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.types import TensorType
from graphc.ops.op import family_of


def receptive_fields(graph: Graph) -> dict[Node, tuple[int, int]]:
    """(height, width) in the input's pixels for every node that is such an image [N,C,H,W]."""
    sees: dict[Node, tuple[int, int]] = {}
    jumps: dict[Node, tuple[int, int]] = {}
    for node in graph.nodes:
        if not isinstance(node.type, TensorType) or node.type.rank != 4:
            continue
        if family_of(node) == "input":
            if node.attrs["kind"] == "data":
                sees[node], jumps[node] = (1, 1), (1, 1)
            continue
        sources = [i for i in node.inputs if i in sees]
        if not sources:
            continue
        reach = (max(sees[i][0] for i in sources), max(sees[i][1] for i in sources))
        jump = jumps[sources[0]]
        if "stride" in node.attrs and "size" not in node.attrs:
            reach, jump = _through_window(node, reach, jump)
        elif family_of(node) != "elementwise":
            continue
        sees[node], jumps[node] = reach, jump
    return sees


def _through_window(
    node: Node, reach: tuple[int, int], jump: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    window = node.attrs.get("window") or node.inputs[1].tensor.concrete(1)[-2:]
    dilation, stride = node.attrs.get("dilation", (1, 1)), node.attrs["stride"]
    y, x = (reach[a] + (window[a] - 1) * dilation[a] * jump[a] for a in (0, 1))
    return (y, x), (jump[0] * stride[0], jump[1] * stride[1])
