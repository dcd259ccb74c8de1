"""Dense layers behind flattened images become convolutions, so that a network slides.

A dense layer on [C,F,F] features is a convolution whose kernel covers all of them (Sermanet et al.,
"OverFeat", 2014; Long, Shelhamer and Darrell, 2015). The converted network takes larger images and
gives one answer for each place of the original's input on them. It knows what the axes of an op
mean only where an op states it: windows, axes, shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from graphc.base.errors import GraphcError
from graphc.base.source import written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, remake
from graphc.ir.rewrite import rebuild, substitute
from graphc.ir.types import Dim, Shape, TensorType, parse_type
from graphc.ops.contractions import conv2d
from graphc.ops.create import full
from graphc.ops.elementwise import neg
from graphc.ops.op import family_of
from graphc.ops.pooling import max_pool2d, sum_pool2d
from graphc.ops.views import broadcast, reshape, transpose
from graphc.passes.base import Pass
from graphc.passes.decompose import decomposed
from graphc.passes.dense_layers import value_of
from graphc.passes.fuse import unfused

Array = np.ndarray[Any, Any]
SLIDING = {"stride", "padding"}
WINDOWED = ("conv2d", "max_pool2d", "sum_pool2d", "avg_pool2d")
STEP = "dense_to_conv"


@dataclass(frozen=True)
class DenseToConv(Pass):
    """A network that ends in dense layers becomes one of convolutions, for images of another size.

    y = matmul(flatten(x), W^T)  ->  y = conv2d(x, W), with W [classes,C,F,F] over features [C,F,F]

    height, width: of the new input, at least those of the old one; the same if left out. The result
    has two more axes: one element for each place at which what the original sees of its input fits,
    a stride of the network apart. It is the original's answer on that crop, exactly if no layer
    pads; otherwise the pixels beside the crop stand where the original sees padding.

    >>> from graphc.ir.text import parse
    >>> graph = parse('''graph g(%x: f32[N,2,3,3], %w: parameter f32[5,18]) {
    ...   %flat = reshape(%x) {shape=(N, 18)} : f32[N,18]
    ...   %turned = transpose(%w) {axes=(1, 0)} : f32[18,5]
    ...   %y = matmul(%flat, %turned) : f32[N,5]
    ...   return %y
    ... }''')
    >>> print(DenseToConv(height=6, width=4)(graph))  # doctest: +ELLIPSIS
    graph g(%x: f32[N,2,6,4], %w: parameter f32[5,2,3,3]) {
      %conv2d = conv2d(%x, %w) {dilation=(1, 1), groups=1, ... stride=(1, 1)} : f32[N,5,4,2]...
      return %conv2d
    }
    """

    name: ClassVar[str] = STEP
    changes_values: ClassVar[bool] = True
    height: int = 0
    width: int = 0

    def run(self, graph: Graph) -> Graph:
        old = _image_input(graph).tensor
        size = (self.height or old.shape[2], self.width or old.shape[3])
        return _converted(graph, TensorType(old.dtype, (*old.shape[:2], *size)))


def dense_to_conv(
    graph: Graph, params: Mapping[str, Any], input_type: str | TensorType
) -> tuple[Graph, dict[str, Array]]:
    """`graph` for images of `input_type`, its dense layers as convolutions, and their parameters.

    input_type: as the graph's own but for height and width, such as "f32[N,1,64,48]". A dense
    weight [K,C F F] becomes a kernel [K,C,F,F] of the same numbers. Raises GraphcError for a graph
    that does not take one batch of images, and for an op that ties places of the image together.
    """
    wanted = parse_type(input_type) if isinstance(input_type, str) else input_type
    new = _converted(graph, wanted)
    values = {name: np.asarray(value) for name, value in params.items()}
    before = {i.attrs["name"]: i for i in graph.inputs}
    for node in new.inputs:
        name = node.attrs["name"]
        if node.attrs["kind"] != "data" and node is not before[name]:
            value = value_of(before[name], params, STEP)
            values[name] = value.reshape(node.tensor.concrete(1))
    return new, values


def _image_input(graph: Graph) -> Node:
    """The graph's one data input [N,C,H,W]. Raises GraphcError if it has another."""
    data = [i for i in graph.inputs if i.attrs["kind"] == "data"]
    if len(data) != 1 or data[0].tensor.rank != 4 or data[0].tensor.batch_axis not in (0, None):
        listed = ", ".join(str(i.type) for i in data) or "nothing"
        raise GraphcError(
            f"{STEP}: graph {graph.name} takes {listed}, not one batch of images",
            remedy="give the forward graph of a network of [N,channels,height,width]",
        )
    return data[0]


def _converted(graph: Graph, wanted: TensorType) -> Graph:
    source = _image_input(graph)
    old = source.tensor
    sizes = zip(old.shape[2:], wanted.shape[2:], strict=False)
    larger = all(isinstance(b, int) and isinstance(a, int) and b >= a for a, b in sizes)
    alike = (wanted.dtype, wanted.rank, wanted.shape[:2]) == (old.dtype, old.rank, old.shape[:2])
    if not alike or not larger:
        raise GraphcError(
            f"{STEP}: input {wanted} instead of {old}",
            remedy="change height and width alone, to at least what they were",
        )
    plain = _with_stated_axes(unfused(graph))
    slider = _Slider({source: _Wide(make_input(source.attrs["name"], wanted), "image")})
    for node in plain.nodes:
        if any(i in slider.wide for i in node.inputs):
            with written_at(node.location, node.origin):
                slider.wide[node] = slider.slid(node)
    outputs = []
    for output in plain.outputs:
        found = slider.wide.get(output)
        if found is not None and found.form == "flat":
            raise _refused(output, "is an output in which places are joined")
        outputs.append(output if found is None else found.node)
    inputs = [slider.wide[i].node if i is source else i for i in plain.inputs]
    return _with_kernels(Graph(graph.name, inputs, outputs))


def _with_stated_axes(graph: Graph) -> Graph:
    """Layers that do not say along which axis they work, or with which window, decomposed."""

    def transform(node: Node, inputs: tuple[Node, ...]) -> Node:
        node = remake(node, inputs)
        stated = "axis" in node.attrs or node.attrs.keys() >= SLIDING
        if family_of(node) != "layer" or stated:
            return node
        if not isinstance(node.type, TensorType):
            raise _refused(node, "has several results")
        return decomposed(node)

    new = rebuild(graph, transform)
    while new is not graph:
        graph, new = new, rebuild(new, transform)
    return graph


def _with_kernels(graph: Graph) -> Graph:
    """Parameters that are only read as the kernel that they are reshaped to become that kernel."""
    users = graph.users()
    new: dict[Node, Node] = {}
    inputs = []
    for node in graph.inputs:
        reads = set(users[node])
        shaped = next(iter(reads)) if len(reads) == 1 else node
        fits = shaped.op.name == "reshape" and not {node, shaped} & set(graph.outputs)
        if node.attrs["kind"] == "parameter" and fits and shaped.tensor.rank == 4:
            new[shaped] = make_input(node.attrs["name"], shaped.tensor, "parameter")
            node = new[shaped]
        inputs.append(node)
    copies = substitute(graph, new)
    return Graph(graph.name, inputs, [copies[o] for o in graph.outputs])


@dataclass(frozen=True)
class _Wide:
    """What a value of the original has become.

    form: "image", the same axes, the last two of which are places and now longer; "flat", an image
    whose axes the original joins (`image` is the type it had), here still an image; "placed", what
    the original has once for its whole input, here for every place, in two axes more.
    """

    node: Node
    form: str
    image: TensorType | None = None

    @property
    def places(self) -> Shape:
        """The extents of the last two axes."""
        return self.node.tensor.shape[-2:]


@dataclass(frozen=True)
class _Slider:
    """The original's values that depend on the image, as what they are on a larger one."""

    wide: dict[Node, _Wide]

    def slid(self, node: Node) -> _Wide:
        """A node whose inputs are known. Raises GraphcError if it ties places together."""
        family = family_of(node)
        if node.attrs.keys() >= SLIDING and family in ("contraction", "reduction", "layer"):
            return self._window(node)
        rule = _RULES.get(node.op.name) or _RULES.get(family)
        if rule is None or (family == "layer" and "axis" not in node.attrs):
            raise _refused(node, "has no meaning at one place alone")
        return rule(self, node)

    def _only(self, node: Node, *forms: str) -> _Wide:
        """The first input, which is one of these forms; the others do not depend on the image."""
        found = self.wide.get(node.inputs[0])
        if found is None or any(i in self.wide for i in node.inputs[1:]):
            raise _refused(node, "multiplies two values that depend on the image")
        if found.form not in forms:
            raise _refused(node, "works on places that are joined")
        return found

    def _window(self, node: Node) -> _Wide:
        """A convolution or a pooling: the same window, at more places."""
        if node.op.name not in WINDOWED:
            raise _refused(node, "has no meaning at one place alone")
        x = self._only(node, "image")
        return replace(x, node=remake(node, (x.node, *node.inputs[1:]), node.attrs))

    def _matmul(self, node: Node) -> _Wide:
        x = self._only(node, "flat", "placed")
        weights = transpose(node.inputs[1])
        window: Shape = (weights.tensor.shape[1], 1, 1)
        if x.image is not None:
            window = x.image.shape[1:]
        kernel = reshape(weights, shape=(weights.tensor.shape[0], *window))
        return _Wide(conv2d(x.node, kernel), "placed")

    def _elementwise(self, node: Node) -> _Wide:
        found = [self.wide[i] for i in node.inputs if i in self.wide]
        first = found[0]
        kinds = {(w.form, w.image, w.node.tensor.shape) for w in found}
        if len(kinds) > 1:
            raise _refused(node, "joins values of different places")
        operands = [self.wide[i].node if i in self.wide else _spread(i, first) for i in node.inputs]
        return replace(first, node=remake(node, tuple(operands)))

    def _reduction(self, node: Node) -> _Wide:
        """Over channels as it is; over all places, in each window as large as the original's."""
        x = self._only(node, "image", "placed")
        axes, old = node.attrs["axes"], node.inputs[0].tensor
        reduced = {old.rank - 2, old.rank - 1} & set(axes)
        if x.form == "placed" or not reduced:
            return replace(x, node=remake(node, (x.node,), node.attrs))
        if axes != (2, 3) or old.rank != 4:
            raise _refused(node, "reduces places together with channels, or one axis of them")
        window = old.concrete(1)[2:]
        if node.op.name == "sum":
            made = sum_pool2d(x.node, window=window, stride=1)
        elif node.op.name == "max":
            made = max_pool2d(x.node, window=window, stride=1)
        else:
            made = neg(max_pool2d(neg(x.node), window=window, stride=1))
        return _Wide(made, "image" if node.attrs["keepdims"] else "placed")

    def _reshape(self, node: Node) -> _Wide:
        x = self._only(node, "image", "flat", "placed")
        old, shape = node.inputs[0].tensor, node.attrs["shape"]
        if x.form == "placed":
            return replace(x, node=reshape(x.node, shape=(*shape, *x.places)))
        if x.form == "flat":
            assert x.image is not None
            if shape == x.image.shape:
                return _Wide(x.node, "image")
        elif shape[-2:] == old.shape[-2:]:
            return replace(x, node=reshape(x.node, shape=(*shape[:-2], *x.places)))
        elif old.rank == 4 and len(shape) == 2 and shape[0] == old.shape[0]:
            return _Wide(x.node, "flat", old)
        raise _refused(node, "moves elements between places")

    def _broadcast(self, node: Node) -> _Wide:
        x = self._only(node, "image", "placed")
        axes, shape = node.attrs["axes"], node.attrs["shape"]
        rank = len(shape)
        if x.form == "placed":
            axes, shape = (*axes, rank, rank + 1), (*shape, *x.places)
        else:
            old = node.inputs[0].tensor.shape
            if axes[-2:] != (rank - 2, rank - 1) or old[-2:] != shape[-2:]:
                raise _refused(node, "repeats one place at another")
            shape = (*shape[:-2], *x.places)
        return replace(x, node=broadcast(x.node, shape=shape, axes=axes))

    def _transpose(self, node: Node) -> _Wide:
        x = self._only(node, "image", "placed")
        axes, rank = node.attrs["axes"], node.tensor.rank
        if x.form == "placed":
            axes = (*axes, rank, rank + 1)
        elif axes[-2:] != (rank - 2, rank - 1):
            raise _refused(node, "moves the axes of places")
        return replace(x, node=transpose(x.node, axes=axes))

    def _padded(self, node: Node) -> _Wide:
        x = self._only(node, "image", "placed")
        more = (0, 0) if x.form == "placed" else ()
        amounts = {side: (*node.attrs[side], *more) for side in ("low", "high", "interior")}
        return replace(x, node=remake(node, (x.node,), {**node.attrs, **amounts}))

    def _sliced(self, node: Node) -> _Wide:
        """Of the places, as many are left out at each end as the original leaves out."""
        x = self._only(node, "image", "placed")
        start, stop, step = (node.attrs[k] for k in ("start", "stop", "step"))
        if x.form == "placed":
            start, stop, step = (*start, 0, 0), (*stop, None, None), (*step, 1, 1)
        else:
            olds = node.inputs[0].tensor.shape[-2:]
            ends = [_later(*ends) for ends in zip(stop[-2:], olds, x.places, strict=True)]
            stop = (*stop[:-2], *ends)
        attrs = {"start": start, "stop": stop, "step": step}
        return replace(x, node=remake(node, (x.node,), attrs))

    def _reversed(self, node: Node) -> _Wide:
        x = self._only(node, "image", "placed")
        if x.form == "image" and {node.tensor.rank - 2, node.tensor.rank - 1} & {
            *node.attrs["axes"]
        }:
            raise _refused(node, "turns the order of places round")
        return replace(x, node=remake(node, (x.node,)))

    def _along_axis(self, node: Node) -> _Wide:
        """softmax, concat and their like along an axis that is none of places."""
        found = self._elementwise_forms(node)
        if found.form == "flat" or (
            found.form == "image" and node.attrs["axis"] >= node.tensor.rank - 2
        ):
            raise _refused(node, "works along an axis of places")
        return replace(found, node=remake(node, tuple(self.wide[i].node for i in node.inputs)))

    def _elementwise_forms(self, node: Node) -> _Wide:
        """The first of inputs that all depend on the image, in one form and at the same places."""
        found = [self.wide.get(i) for i in node.inputs]
        first = found[0]
        if first is None or any(
            w is None or (w.form, w.places) != (first.form, first.places) for w in found
        ):
            raise _refused(node, "joins values of different places")
        return first


_RULES: dict[str, Callable[[_Slider, Node], _Wide]] = {
    "matmul": _Slider._matmul,
    "sum": _Slider._reduction,
    "max": _Slider._reduction,
    "min": _Slider._reduction,
    "reshape": _Slider._reshape,
    "broadcast": _Slider._broadcast,
    "transpose": _Slider._transpose,
    "pad": _Slider._padded,
    "slice": _Slider._sliced,
    "reverse": _Slider._reversed,
    "elementwise": _Slider._elementwise,
    "layer": _Slider._along_axis,
}


def _later(stop: int | None, old: Dim, new: Dim) -> int | None:
    """The end of a range as far from the end of an axis as it was."""
    assert isinstance(old, int) and isinstance(new, int)
    return None if stop is None else stop + new - old


def _spread(operand: Node, beside: _Wide) -> Node:
    """What does not depend on the image, in the shape of what it is combined with.

    Raises GraphcError if it differs from place to place.
    """
    shape = beside.node.tensor.shape
    if operand.op.name == "full":
        return full(operand.attrs["value"], shape=shape, dtype=operand.tensor.dtype)
    if family_of(operand) == "elementwise":
        return remake(operand, tuple(_spread(i, beside) for i in operand.inputs))
    if operand.op.name == "broadcast":
        source, axes = operand.inputs[0], operand.attrs["axes"]
        if beside.form == "flat" and source.tensor.count() == 1:
            return broadcast(reshape(source, shape=()), shape=shape)
        if beside.form == "placed":
            return broadcast(source, shape=shape, axes=axes)
        own = [d for d, a in zip(source.tensor.shape, axes, strict=True) if a >= len(shape) - 2]
        if beside.form == "image" and all(d == 1 for d in own):
            return broadcast(source, shape=shape, axes=axes)
    raise _refused(operand, "differs from place to place")


def _refused(node: Node, reason: str) -> GraphcError:
    name = node.attrs["name"] if family_of(node) == "input" else node.op.name
    return GraphcError(
        f"{STEP}: {name} of type {node.type} {reason}",
        node=f"{node.op.name}({', '.join(str(i.type) for i in node.inputs)})",
        location=node.location,
        remedy="convert a network of convolutions, pooling and elementwise layers that ends in "
        "dense layers, or the part of it that is one",
    )
