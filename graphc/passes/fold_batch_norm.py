"""Batch normalisation folded into the convolution, or dense layer, before it.

With running statistics it is an affine map of each channel, x a[c] + b[c] with a and b made of
parameters and states alone. A contraction is linear, so (W * x) a + b = (W a) * x + b: one
convolution with scaled weights and a bias. What is matched is the affine map, however it is
written; the pass knows no layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphc.base.source import written_at
from graphc.ir.graph import INPUT, Graph, make_input, topological_order
from graphc.ir.node import Node, remake
from graphc.ir.types import DType, TensorType
from graphc.ops.create import full
from graphc.ops.elementwise import add, div, mul, neg, sub
from graphc.ops.interpret import interpret
from graphc.ops.op import family_of
from graphc.ops.views import broadcast, reshape, transpose
from graphc.passes.base import Pass
from graphc.passes.dense_layers import value_of
from graphc.passes.fuse import unfused
from graphc.passes.retype import retype

Array = np.ndarray[Any, Any]
CHANNELS = 1
LINEAR = ("conv2d", "conv2d_input_grad", "matmul")


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Batch normalisation with running statistics goes into the convolution or dense layer before.

    y = conv2d(x, w) * scale + shift  ->  y = conv2d(x, w * scale) + shift

    scale and shift: one number a channel, made of parameters, states and constants. The graph keeps
    its inputs; `fold_batch_norm` computes the new weights once and for all. A convolution whose
    result is read elsewhere too stays as it is, and so does a training step, where the statistics
    are the batch's.

    >>> from graphc.ir.text import parse
    >>> graph = parse('''graph g(%x: f32[N,4], %w: parameter f32[3,4], %s: parameter f32[3]) {
    ...   %turned = transpose(%w) {axes=(1, 0)} : f32[4,3]
    ...   %product = matmul(%x, %turned) : f32[N,3]
    ...   %scale = broadcast(%s) {axes=(1,), shape=(N, 3)} : f32[N,3]
    ...   %y = mul(%product, %scale) : f32[N,3]
    ...   return %y
    ... }''')
    >>> print(FoldBatchNorm()(graph))  # doctest: +ELLIPSIS
    graph g(%x: f32[N,4], %w: parameter f32[3,4], %s: parameter f32[3]) {
      %broadcast = broadcast(%s) {axes=(0,), shape=(3, 4)} : f32[3,4]...
      %mul = mul(%w, %broadcast) : f32[3,4]...
      %transpose = transpose(%mul) {axes=(1, 0)} : f32[4,3]...
      %matmul = matmul(%x, %transpose) : f32[N,3]...
      return %matmul
    }
    """

    name: ClassVar[str] = "fold_batch_norm"

    def run(self, graph: Graph) -> Graph:
        plain = unfused(graph)
        folds = _folds(plain)
        if not folds:
            return graph
        return Graph(graph.name, graph.inputs, _outputs(plain, folds, lambda _, node: node))


def fold_batch_norm(graph: Graph, params: Mapping[str, Any]) -> tuple[Graph, dict[str, Array]]:
    """An evaluation graph with its batch normalisations folded, and the parameters it then has.

    params: of `graph`, running statistics included. "conv.weight" holds the scaled weights and
    "conv.bias" the shift, computed in f64 once; inputs that nothing reads any more are gone. The
    same graph if there is nothing to fold. Raises GraphcError for values that are absent, of
    another shape or not finite.
    """
    plain = unfused(graph)
    folds = _folds(plain)
    if not folds:
        return graph, {name: np.asarray(value) for name, value in params.items()}
    others = _inputs_of(*_outputs(plain, folds, lambda _, node: _zeros(node)))
    taken = {str(i.attrs["name"]) for i in others}
    made: dict[Node, Node] = {}
    after: dict[Node, list[Node]] = {}

    def held(fold: _Fold, node: Node) -> Node:
        source = next(iter(_inputs_of(fold.weight, fold.scale, node)), None)
        if source is None:
            return node  # made of constants alone
        if node not in made:
            name = str(source.attrs["name"])
            wanted = name if node.tensor.rank > 1 else f"{name.removesuffix('.weight')}.bias"
            made[node] = make_input(_free(wanted, taken), node.tensor, "parameter")
            after.setdefault(source, []).append(made[node])
        return made[node]

    outputs = _outputs(plain, folds, held)
    inputs = [
        new
        for old in plain.inputs
        for new in (*([old] if old in others or _is_data(old) else []), *after.get(old, ()))
    ]
    new = {i.attrs["name"]: value for i, value in _values(made, params).items()}
    values = {}
    for node in (i for i in inputs if not _is_data(i)):
        name = node.attrs["name"]
        values[name] = new[name] if name in new else value_of(node, params, "fold_batch_norm")
    return Graph(plain.name, inputs, outputs), values


@dataclass(frozen=True)
class _Fold:
    """``end = contraction(x, weight) * scale + shift``, one number a channel; shift may be none."""

    contraction: Node
    weight: Node
    inside: tuple[Node, ...]
    scale: Node
    shift: Node | None


def _folds(graph: Graph) -> dict[Node, _Fold]:
    """The ends of affine maps that follow a contraction, each with what it folds into."""
    if graph.donations:  # a training step: what it reads now is overwritten at its end
        return {}
    held = _held(graph)
    users = graph.users()
    outputs = set(graph.outputs)
    found = {}
    for node in graph.nodes:
        if node.op.name not in LINEAR or node in held or node.inputs[1] not in held:
            continue
        channels = node.tensor.shape[CHANNELS]
        assert isinstance(channels, int)
        end, scale, shift = node, None, None
        inside = []
        while end not in outputs and len(users[end]) == 1:
            inside.append(end)
            (user,) = users[end]
            others = [i for i in user.inputs if i is not end]
            vector = _vector(others[0], channels, held) if others else None
            step = _AFFINE.get(user.op.name)
            if step is None or (others and vector is None):
                break
            one = full(1.0, shape=(channels,), dtype=node.tensor.dtype)
            with written_at(user.location, user.origin):
                applied = step(user.inputs[0] is end, vector or one, scale, shift)
            if applied is None:
                break
            end, (scale, shift) = user, applied
            if scale is not None:
                found[end] = _Fold(node, node.inputs[1], tuple(inside), scale, shift)
                found.pop(inside[-1], None)
    return found


Affine = tuple[Node | None, Node | None]


def _added(first: bool, v: Node, scale: Node | None, shift: Node | None) -> Affine:
    return scale, v if shift is None else add(shift, v)


def _subtracted(first: bool, v: Node, scale: Node | None, shift: Node | None) -> Affine:
    if first:
        return scale, neg(v) if shift is None else sub(shift, v)
    minus = full(-1.0, shape=v.tensor.shape, dtype=v.tensor.dtype)
    return minus if scale is None else neg(scale), v if shift is None else sub(v, shift)


def _multiplied(first: bool, v: Node, scale: Node | None, shift: Node | None) -> Affine:
    return v if scale is None else mul(scale, v), None if shift is None else mul(shift, v)


def _divided(first: bool, v: Node, scale: Node | None, shift: Node | None) -> Affine | None:
    if not first:
        return None
    return div(1.0, v) if scale is None else div(scale, v), None if shift is None else div(shift, v)


def _negated(first: bool, v: Node, scale: Node | None, shift: Node | None) -> Affine:
    return neg(v) if scale is None else neg(scale), None if shift is None else neg(shift)


Step = Callable[[bool, Node, Node | None, Node | None], Affine | None]
_AFFINE: dict[str, Step] = {
    "add": _added,
    "sub": _subtracted,
    "mul": _multiplied,
    "div": _divided,
    "neg": _negated,
}


def _held(graph: Graph) -> set[Node]:
    """Everything made of parameters, states and constants alone, whatever the batch."""
    found: set[Node] = set()
    for node in graph.nodes:
        if not isinstance(node.type, TensorType) or node.type.batch_axis is not None:
            continue
        family = family_of(node)
        if family == "create":
            made_of_them = not node.inputs and node.op.name != "batch_size"
        elif family == "input":
            made_of_them = not _is_data(node)
        else:
            made_of_them = all(i in found for i in node.inputs)
        if made_of_them:
            found.add(node)
    return found


def _vector(node: Node, channels: int, held: set[Node]) -> Node | None:
    """The vector [channels] that `node` repeats along every other axis; None if it does not."""
    if node.op.name == "full":
        return full(node.attrs["value"], shape=(channels,), dtype=node.tensor.dtype)
    source, axes = node, tuple(range(node.tensor.rank))
    if node.op.name == "broadcast":
        source, axes = node.inputs[0], node.attrs["axes"]
    wide = [a for a, d in zip(axes, source.tensor.shape, strict=True) if d != 1]
    if source not in held or wide not in ([], [CHANNELS]):
        return None
    return broadcast(reshape(source, shape=(source.tensor.count(),)), shape=(channels,))


def _outputs(
    graph: Graph, folds: Mapping[Node, _Fold], held: Callable[[_Fold, Node], Node]
) -> list[Node]:
    """The graph's outputs with every fold made; `held` may replace a new weight or bias."""
    skipped = {node for fold in folds.values() for node in fold.inside}
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if node in skipped:
            continue
        fold = folds.get(node)
        if fold is None:
            new[node] = remake(node, tuple(new[i] for i in node.inputs))
            continue
        x = new[fold.contraction.inputs[0]]
        with written_at(node.location, f"{fold.contraction.op.name} with its scale folded in"):
            made = remake(fold.contraction, (x, _scaled(fold, held)))
            if fold.shift is not None:
                bias = held(fold, fold.shift)
                made = add(made, broadcast(bias, shape=made.tensor.shape, axes=(CHANNELS,)))
        new[node] = made
    return [new[o] for o in graph.outputs]


def _scaled(fold: _Fold, held: Callable[[_Fold, Node], Node]) -> Node:
    """The weights with each output channel's multiplied by its scale, in the layout they have."""
    weight, scale = fold.weight, fold.scale
    if fold.contraction.op.name == "conv2d":
        return held(fold, _times(weight, scale, (0,)))
    if fold.contraction.op.name == "matmul":
        if weight.op.name == "transpose":
            return transpose(held(fold, _times(transpose(weight), scale, (0,))))
        return held(fold, _times(weight, scale, (1,)))
    groups = fold.contraction.attrs["groups"]
    maps, channels, *window = weight.tensor.concrete(1)
    split = reshape(weight, shape=(groups, maps // groups, channels, *window))
    scaled = _times(split, reshape(scale, shape=(groups, channels)), (0, 2))
    return held(fold, reshape(scaled, shape=weight.tensor.shape))


def _times(weight: Node, scale: Node, axes: tuple[int, ...]) -> Node:
    return mul(weight, broadcast(scale, shape=weight.tensor.shape, axes=axes))


def _inputs_of(*nodes: Node | None) -> dict[Node, None]:
    """The inputs that any of `nodes` depends on, in the order in which they are met."""
    order = topological_order([n for n in nodes if n is not None])
    return dict.fromkeys(n for n in order if n.op is INPUT)


def _is_data(node: Node) -> bool:
    return bool(node.attrs["kind"] == "data")


def _zeros(like: Node) -> Node:
    return full(0.0, shape=like.tensor.shape, dtype=like.tensor.dtype)


def _free(wanted: str, taken: set[str]) -> str:
    """`wanted`, or with ".folded" behind it as often as it takes; then taken."""
    while wanted in taken:
        wanted += ".folded"
    taken.add(wanted)
    return wanted


def _values(made: Mapping[Node, Node], params: Mapping[str, Any]) -> dict[Node, Array]:
    """The value of each new input, computed in f64 from what it stands for."""
    sources = list(_inputs_of(*made))
    given = {i.attrs["name"]: value_of(i, params, "fold_batch_norm") for i in sources}
    wide = retype(Graph("folded", sources, list(made)), DType.f64)
    found = interpret(wide, {n: v.astype(np.float64) for n, v in given.items()}, 1)
    return {
        new: np.ascontiguousarray(value, new.tensor.dtype.numpy)
        for new, value in zip(made.values(), found, strict=True)
    }
