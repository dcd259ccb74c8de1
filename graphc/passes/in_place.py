"""Which donated inputs may be overwritten by the kernel that computes their new value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ops.elementwise import copy
from graphc.ops.op import family_of
from graphc.ops.rows import row_of_body
from graphc.passes.base import Pass
from graphc.passes.plan_memory import is_kernel, source_of


@dataclass(frozen=True)
class InPlace(Pass):
    """A new value that would overwrite what is still to be read is computed beside it and copied
    at the end.

    It is in the way if a kernel that comes later reads the old value, or if the kernel itself reads
    other elements of it than the one it writes.

    return matmul(w, w) into w  ->  return copy(matmul(w, w)) into w
    """

    name: ClassVar[str] = "in_place"
    required = True

    def run(self, graph: Graph) -> Graph:
        after = graph.users()
        outputs = list(graph.outputs)
        for output, source in graph.donations:
            kernel, _ = source_of(outputs[output])
            old = graph.inputs[source]
            if not is_kernel(kernel):
                continue
            readers = _readers(old, after) - {kernel}
            if _moves(kernel, old) or readers & _later(kernel, after):
                outputs[output] = copy(outputs[output])
                continue
            for reader in readers:  # from here on it waits for them, which later choices must heed
                after[reader].append(kernel)
        if all(a is b for a, b in zip(outputs, graph.outputs, strict=True)):
            return graph
        return Graph(graph.name, graph.inputs, outputs, graph.donations)


def _readers(node: Node, after: dict[Node, list[Node]]) -> set[Node]:
    """Kernels that read `node`, under whatever name."""
    found: set[Node] = set()
    stack, seen = [node], {node}
    while stack:
        for user in after[stack.pop()]:
            if is_kernel(user):
                found.add(user)
            elif user not in seen:
                seen.add(user)
                stack.append(user)
    return found


def _moves(kernel: Node, old: Node) -> bool:
    """Whether `kernel` reads elements of `old` other than the one it writes."""
    if not any(source_of(i)[0] is old for i in kernel.inputs):
        return False
    if kernel.op.name != "fused":
        return family_of(kernel) != "elementwise"
    body: Graph = kernel.attrs["body"]
    if any(i is not old for i in kernel.inputs if source_of(i)[0] is old):
        return True
    if row_of_body(body) is not None:  # reads its rows again after it has written some
        return True
    depending = {b for b, i in zip(body.inputs, kernel.inputs, strict=True) if i is old}
    for node in body.nodes:
        if any(i in depending for i in node.inputs):
            if family_of(node) != "elementwise":
                return True
            depending.add(node)
    return False


def _later(kernel: Node, after: dict[Node, list[Node]]) -> set[Node]:
    """Everything that has to come after `kernel`."""
    found: set[Node] = set()
    stack = list(after[kernel])
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(after[node])
    return found
