"""Images between kernels lie in memory as bf16, where products are rounded to it anyway.

Kernels still compute in f32: they round what they write and widen what they read. It halves the
bytes of everything that is bound by memory: normalisation, activations, pooling, sums of branches,
and what a training step keeps for its gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.base.source import written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, remake
from graphc.ir.types import DType, TensorType
from graphc.ops.elementwise import cast
from graphc.ops.op import family_of
from graphc.ops.structure import fused, get
from graphc.passes.base import Pass


@dataclass(frozen=True)
class NarrowImages(Pass):
    """Rounds every image of f32 that one kernel writes and only kernels read, but for sums along an
    axis of one: those are few.

    y = fused(x) {add, relu}; z = fused(y) {mul}
    ->  y = fused(x) {add, relu, cast to bf16}; z = fused(y) {cast to f32, mul}
    """

    name: ClassVar[str] = "narrow_images"
    changes_values: ClassVar[bool] = True

    def run(self, graph: Graph) -> Graph:
        narrow = _narrowed(graph)
        new: dict[Node, Node] = {}
        for node in graph.nodes:
            if node.op.name == "get" and node in new:
                continue  # made with the kernel whose result it is
            with written_at(node.location, node.origin):
                touched = node in narrow or any(i in narrow for i in node.inputs)
                results = [u for u in graph.users()[node] if u.op.name == "get"]
                if touched or any(r in narrow for r in results):
                    new |= _rewritten(node, results, narrow, new)
                else:
                    new[node] = remake(node, tuple(new[i] for i in node.inputs))
        return Graph(graph.name, graph.inputs, [new[o] for o in graph.outputs], graph.donations)


def _narrowed(graph: Graph) -> set[Node]:
    """The images that are to be rounded."""
    users, outputs = graph.users(), set(graph.outputs)
    found = set()
    for node in graph.nodes:
        made = node.inputs[0] if node.op.name == "get" else node
        if not _is_kernel(made) or not isinstance(node.type, TensorType) or node in outputs:
            continue
        type = node.type
        is_image = type.dtype is DType.f32 and type.rank > 2 and type.batch_axis == 0
        is_sum = 1 in type.shape  # of an image along an axis: few numbers, which stay exact
        if is_image and not is_sum and all(map(_is_kernel, users[node])):
            found.add(node)
    return found


def _is_kernel(node: Node) -> bool:
    return node.op.name == "fused" or family_of(node) not in ("input", "alias", "structure")


def _rewritten(
    node: Node, results: list[Node], narrow: set[Node], new: dict[Node, Node]
) -> dict[Node, Node]:
    """A kernel that reads or writes narrow images; its results by what they stand for."""
    body, sources = _body(node)
    stand_ins = {
        old: make_input(old.attrs["name"], new[source].tensor)
        for old, source in zip(body.inputs, sources, strict=True)
    }
    copies: dict[Node, Node] = {}
    for old, source in zip(body.inputs, sources, strict=True):
        stand_in = stand_ins[old]
        copies[old] = cast(stand_in, dtype=DType.f32) if source in narrow else stand_in
    for inner in body.nodes:
        if inner not in copies:
            copies[inner] = _short(remake(inner, tuple(copies[i] for i in inner.inputs)))
    written = {r.attrs["index"]: r for r in results} if results else {0: node}
    values = [
        _short(cast(copies[o], dtype=DType.bf16)) if written.get(k) in narrow else copies[o]
        for k, o in enumerate(body.outputs)
    ]
    distinct = list(dict.fromkeys(values))
    kernel = fused(Graph(body.name, list(stand_ins.values()), distinct), *(new[s] for s in sources))
    found = {node: kernel}
    for k, result in written.items():
        place = distinct.index(values[k])
        found[result] = kernel if len(distinct) == 1 else get(kernel, place)
    return found


def _body(node: Node) -> tuple[Graph, tuple[Node, ...]]:
    """The body of a kernel and what it reads; for a node that is not fused, a body of just it."""
    if node.op.name == "fused":
        return node.attrs["body"], node.inputs
    sources = tuple(dict.fromkeys(node.inputs))
    inputs = {s: make_input(f"in{k}", s.tensor) for k, s in enumerate(sources)}
    copy = remake(node, tuple(inputs[i] for i in node.inputs))
    return Graph(node.op.name, list(inputs.values()), [copy]), sources


def _short(node: Node) -> Node:
    """`node`, without going to f32 and back."""
    if node.op.name != "cast" or node.tensor.dtype is not DType.bf16:
        return node
    wide = node.inputs[0]
    if wide.op.name == "cast" and wide.inputs[0].tensor.dtype is DType.bf16:
        return wide.inputs[0]
    return node
