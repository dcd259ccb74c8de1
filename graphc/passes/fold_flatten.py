"""The flatten order folded into the weights of dense layers behind images in blocks of channels.

Images in `blocked_1` flattened as they lie are features in another order than row-major ones. A
dense layer may read them so if its weights, their gradients and what the optimiser keeps lie in
that order too: then neither the features nor their gradient are moved. It pays where weights stay
so between runs (`pack_parameters`); moving them in each would cost far more than moving features.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.layouts import IMAGES, ROW_MAJOR, features
from graphc.ir.node import Node, remake
from graphc.ir.types import TensorType
from graphc.ops.op import family_of
from graphc.ops.views import relayout
from graphc.passes.base import Pass
from graphc.passes.pack_parameters import with_states


@dataclass(frozen=True)
class FoldFlatten(Pass):
    """Dense layers behind flattened images in blocks read the features in the order in which they
    lie. Their parameters, the gradients and what is updated with them follow.

    y = matmul(reshape(relayout(x)), w)  ->  y = matmul(reshape(x), relayout(w))
    """

    name = "fold_flatten"

    def run(self, graph: Graph) -> Graph:
        flat = _flat(graph)
        weights = with_states(graph, _weights(graph, flat))
        return _Folded(graph, flat, weights).result() if weights else graph


# -- what can be folded ----------------------------------------------------------------------------


def _pixels(node: Node) -> int:
    """The pixels of the images in blocks whose row-major copy `node` flattens; 0 if it does not."""
    source = node.inputs[0] if node.op.name == "reshape" else node
    if source.op.name != "relayout" or source.inputs[0].tensor.layout != IMAGES:
        return 0
    images = source.inputs[0].tensor
    if node.tensor.rank != 2 or node.tensor.shape[0] != images.shape[0]:
        return 0
    return TensorType(images.dtype, images.shape[2:]).count()


def _flat(graph: Graph) -> dict[Node, int]:
    """Flattened images, and what is computed from them element by element, with their pixels."""
    unmoved = _unmoved(graph, 1)
    found: dict[Node, int] = {}
    for node in graph.nodes:
        pixels = _pixels(node)
        if not pixels and family_of(node) == "elementwise":
            moved = {found.get(i, 0) for i in node.inputs if i not in unmoved}
            pixels = moved.pop() if len(moved) == 1 else 0
        if pixels:
            found[node] = pixels
    return found


def _unmoved(graph: Graph, axis: int | None) -> set[Node]:
    """What has the same value all along an axis. Without an axis: what images in blocks read as it
    is, numbers made up where they are read among it. (In the order of features those would keep
    the loops over blocks, pixels and channels apart: a product's epilogue must not.)
    """
    found: set[Node] = set()
    for node in graph.nodes:
        if node.op.name == "broadcast":
            axes = zip(node.attrs["axes"], node.inputs[0].tensor.shape, strict=True)
            fits = axis is None or all(a != axis or extent == 1 for a, extent in axes)
        elif family_of(node) == "create":
            fits = axis is None or node.op.name == "full"
        else:
            fits = family_of(node) == "elementwise" and all(i in found for i in node.inputs)
        if fits:
            found.add(node)
    return found


def _weights(graph: Graph, flat: dict[Node, int]) -> dict[Node, str]:
    """The parameters that features of images are multiplied with, if nothing else reads them in
    the order of their features; with the layouts in which they are to lie.
    """
    users = graph.users()
    found: dict[Node, str] = {}
    for node in graph.nodes:
        if node.op.name != "matmul" or node.inputs[0] not in flat:
            continue
        weights, axis = node.inputs[1], 0
        while weights.op.name in ("transpose", "cast"):
            axis ^= weights.op.name == "transpose"
            weights = weights.inputs[0]
        pixels = flat[node.inputs[0]]
        layout = f"features_{axis}_{pixels}"
        if weights.op.name != "input" or weights.attrs["kind"] == "data":
            continue
        if weights.tensor.with_layout(layout).layout != layout or weights in graph.outputs:
            continue
        if all(flat.get(other) == pixels for other in _multiplied(weights, axis, users)):
            found[weights] = layout
    return found


def _multiplied(weights: Node, axis: int, users: dict[Node, list[Node]]) -> list[Node]:
    """What is multiplied with weights and summed along an axis of theirs; and whatever else reads
    them, but for elementwise code.
    """
    found: list[Node] = []
    for user in users[weights]:
        if user.op.name in ("transpose", "cast"):
            found += _multiplied(user, axis ^ (user.op.name == "transpose"), users)
        elif user.op.name == "matmul":
            left, right = user.inputs
            found += [right] if left is weights and axis == 1 else []
            found += [left] if right is weights and axis == 0 else []
        elif family_of(user) != "elementwise":
            found.append(user)
    return found


# -- folding ---------------------------------------------------------------------------------------


class _Folded:
    """The graph with weights in the order of features, and whatever follows from that. What cannot
    follow reads a row-major copy.
    """

    def __init__(self, graph: Graph, flat: dict[Node, int], weights: dict[Node, str]) -> None:
        self.graph = graph
        self.flat = flat
        self.weights = weights
        types = [node.tensor.with_layout(layout) for node, layout in weights.items()]
        self.gradients = {*types, *map(_transposed, types)}
        self.unmoved = {axis: _unmoved(graph, axis) for axis in (None, 0, 1)}

    def result(self) -> Graph:
        graph = self.graph
        new: dict[Node, Node] = {}
        for node in graph.nodes:
            with written_at(node.location, node.origin):
                if node.op.name == "input":
                    new[node] = relayout(node, layout=self.weights.get(node, node.tensor.layout))
                else:
                    new[node] = self.made(node, tuple(new[i] for i in node.inputs))
        outputs = [relayout(new[o], layout=o.tensor.layout) for o in graph.outputs]
        return Graph(graph.name, graph.inputs, outputs, graph.donations)

    def made(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """`node` of other inputs, some of which are stored otherwise than before."""
        if node.op.name == "relayout":
            return relayout(inputs[0], layout=node.tensor.layout)
        if node.op.name == "reshape" and node in self.flat:
            return remake(node, (relayout(inputs[0], layout=IMAGES),))
        if all(i.type == old.type for i, old in zip(inputs, node.inputs, strict=True)):
            return remake(node, inputs)
        if family_of(node) == "elementwise":
            inputs = self.together(node, inputs)
        elif node.op.name == "matmul":
            inputs = self.factors(node, inputs)
        elif not _follows(node, inputs[0]):
            inputs = _as_before(node, inputs)
        return remake(node, inputs)

    def together(self, node: Node, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        """Operands of elementwise code, stored as the first of those that changed."""
        layouts = [i.tensor.layout for i in inputs if i.tensor.layout != ROW_MAJOR]
        found = features(layouts[0])
        unmoved = self.unmoved[None if found is None else found[0]]
        return tuple(
            i if old in unmoved else relayout(i, layout=layouts[0])
            for i, old in zip(inputs, node.inputs, strict=True)
        )

    def factors(self, node: Node, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
        """Factors of a product: both or none in the order of features where it sums along them; a
        product without a batch in that order only if it is the gradient of weights.
        """
        summed = [features(i.tensor.layout) or (-1, 0) for i in inputs]
        if summed[0] != (1, summed[1][1]) or summed[1][0] != 0:
            inputs = tuple(
                _row_major(i) if axis == 1 - k else i
                for k, (i, (axis, _)) in enumerate(zip(inputs, summed, strict=True))
            )
        type = remake(node, inputs).tensor
        if features(type.layout) and type.batch_axis is None and type not in self.gradients:
            return _as_before(node, inputs)
        return inputs


def _transposed(type: TensorType) -> TensorType:
    axis, pixels = features(type.layout) or (0, 0)
    return TensorType(type.dtype, type.shape[::-1], f"features_{1 - axis}_{pixels}")


def _row_major(node: Node) -> Node:
    return relayout(node, layout=ROW_MAJOR)


def _as_before(node: Node, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
    """`inputs` stored as those of `node`."""
    return tuple(
        relayout(i, layout=old.tensor.layout) if i.type != old.type else i
        for i, old in zip(inputs, node.inputs, strict=True)
    )


def _follows(node: Node, source: Node) -> bool:
    """Whether `node` can read features as they lie: it moves none, or adds up all of them."""
    found, shape = features(source.tensor.layout), node.tensor.shape
    if found is None or node.op.name == "transpose":
        return found is not None
    axis, pixels = found
    if node.op.name == "reshape":  # to images in blocks
        images = len(shape) > 2 and axis == 1 and shape[0] == source.tensor.shape[0]
        return images and TensorType(source.tensor.dtype, shape[2:]).count() == pixels
    return family_of(node) == "reduction" and axis in node.attrs["axes"]
