"""Simplification: rules declared on the ops, constant folding, and a few steps beyond algebra.

Every rule but those of `FASTMATH` keeps the very bits, -0.0, nan and infinities included (x * x for
power(x, 2) is the one exception: it is the better rounded), so it is always safe: x * 1 -> x and
x + (-0.0) -> x, but neither x * 0 -> 0 (nan) nor x + 0.0 -> x (-0.0).
A sum starts at +0.0 and rounds in an order of its own, so it is only folded where no order rounds.
The pass knows no op by name but in its rules; rules about views are in `view_rules`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from graphc.ir.node import OPERATORS, Node
from graphc.ir.rewrite import FunctionRule, Rewrite, Rule, constant_value
from graphc.ir.types import DType, TensorType
from graphc.ops.create import full
from graphc.ops.elementwise import mul
from graphc.ops.interpret import evaluate
from graphc.ops.op import Op, additions_of, family_of, op_of
from graphc.ops.views import reshape
from graphc.passes.base import RulePass
from graphc.passes.view_rules import VIEW_RULES, example

LARGEST_FOLD = 1 << 16
FLOATS: dict[DType, np.finfo[Any]] = {
    DType.f32: np.finfo(np.float32),
    DType.f64: np.finfo(np.float64),
}

ALGEBRA: tuple[Rule, ...] = (
    Rule("mul-minus-one", "mul(x, -1)", "neg(x)"),
    Rule("minus-one-mul", "mul(-1, x)", "neg(x)"),
    Rule("minus-zero-sub", "sub(-0.0, x)", "neg(x)"),
    Rule("neg-add", "add(neg(x), y)", "sub(y, x)"),
    Rule("div-neg", "div(neg(x), neg(y))", "div(x, y)"),
    Rule("abs-relu", "abs(relu(x))", "relu(x)"),
    Rule("where-true", "where(True, x, y)", "x"),
    Rule("where-false", "where(False, x, y)", "y"),
    Rule("where-not", "where(logical_not(c), x, y)", "where(c, y, x)",
         guard=lambda bound: bound["c"].tensor.dtype is DType.bool),
    Rule("not-not", "logical_not(logical_not(x))", "x"),
    Rule("and-true", "logical_and(x, True)", "x"),
    Rule("true-and", "logical_and(True, x)", "x"),
    Rule("and-false", "logical_and(x, False)", "False"),
    Rule("false-and", "logical_and(False, x)", "False"),
    Rule("or-false", "logical_or(x, False)", "x"),
    Rule("false-or", "logical_or(False, x)", "x"),
    Rule("or-true", "logical_or(x, True)", "True"),
    Rule("true-or", "logical_or(True, x)", "True"),
)  # fmt: skip


def _reassociated(op: str) -> tuple[Rule, ...]:
    """(x . c) . d -> x . (c . d) for constants c and d in every order of a commutative op."""
    lefts = (f"{op}({op}(x, c), d)", f"{op}({op}(c, x), d)",
             f"{op}(d, {op}(x, c))", f"{op}(d, {op}(c, x))")  # fmt: skip
    return tuple(
        Rule(f"{op}-constants-{k}", left, f"{op}(x, {op}(c, d))", constants=("c", "d"), ulps=None)
        for k, left in enumerate(lefts)
    )


FASTMATH: tuple[Rule, ...] = (
    Rule("mul-zero", "mul(x, 0.0)", "0.0", ulps=None),
    Rule("zero-mul", "mul(0.0, x)", "0.0", ulps=None),
    Rule("add-plus-zero", "add(x, 0.0)", "x", ulps=None),
    Rule("plus-zero-add", "add(0.0, x)", "x", ulps=None),
    Rule("zero-sub", "sub(0.0, x)", "neg(x)", ulps=None),
    Rule("sub-self", "sub(x, x)", "0.0", ulps=None),
    Rule("div-self", "div(x, x)", "1.0", ulps=None),
    Rule("neg-sub", "neg(sub(x, y))", "sub(y, x)", ulps=None),
    Rule("div-mul-constants", "div(mul(x, c), d)", "mul(x, div(c, d))",
         constants=("c", "d"), ulps=None),
    *_reassociated("add"),
    *_reassociated("mul"),
)  # fmt: skip


def fold_elementwise(node: Node) -> Node | None:
    """f(constants) -> constant, by the op's numpy meaning on one element."""
    if not _all_constant(node):
        return None
    with np.errstate(all="ignore"):
        element = evaluate(node, [_one(i) for i in node.inputs], 1)
    return _constant(node, element)


def fold_view(node: Node) -> Node | None:
    """view(constant) -> constant, for every view moves elements only.

    Guard: what a pad fills in has the same bits.
    """
    if not _all_constant(node) or node.tensor.layout != "batch_first":
        return None
    fill = node.attrs.get("value")
    value = constant_value(node.inputs[0])
    if fill is not None and repr(fill) != repr(value):
        return None
    assert value is not None
    return full(value, shape=node.tensor.shape, dtype=node.tensor.dtype)


def fold_reduction(node: Node) -> Node | None:
    """reduction(constants) -> constant, by the op's numpy meaning at two batch sizes.

    Guard: the result is the same everywhere; a sum runs over extents that are numbers (over the
    batch it stays) and every partial sum is exact, so that no order rounds. The sum of -0.0 stays:
    its sign depends on where the summation starts.
    """
    op = op_of(node)
    if not _all_constant(node) or op.domain is None:
        return None
    inputs = tuple(i.tensor for i in node.inputs)
    domain = op.domain(inputs, node.attrs)
    if op.combine == "sum":
        numbers = [d for d in domain if isinstance(d, int)]
        exact = all(_sums_exactly(i, math.prod(numbers)) for i in node.inputs)
        if len(numbers) < len(domain) or not exact:
            return None
    if max(t.count(2) for t in (*inputs, node.tensor)) > LARGEST_FOLD:
        return None
    with np.errstate(all="ignore"):
        found = [evaluate(node, [_whole(i, n) for i in node.inputs], n) for n in (1, 2)]
    elements = np.concatenate([np.ravel(f) for f in found])
    if not elements.size or any(e.tobytes() != elements[0].tobytes() for e in elements):
        return None
    return _constant(node, elements[0])


def extreme_of_broadcast(node: Node) -> Node | None:
    """max(broadcast(x)) -> reshape(x), and min: the largest of equal numbers is that number.

    Guard: every reduced axis is one along which x was repeated, every other axis is one of x.
    """
    spread = node.inputs[0]
    if spread.op.name != "broadcast":
        return None
    source, placed = spread.inputs[0], spread.attrs["axes"]
    own = {a for a, d in zip(placed, source.tensor.shape, strict=True) if d != 1}
    kept = [a for a in range(spread.tensor.rank) if a not in node.attrs["axes"]]
    repeated = [a for a in kept if a not in own and spread.tensor.shape[a] != 1]
    if repeated or own & set(node.attrs["axes"]) or 0 in source.tensor.shape:
        return None
    return reshape(source, shape=node.tensor.shape)


def extreme_of_one(node: Node) -> Node | None:
    """max over axes of extent 1 -> reshape, and min. A sum over one element turns -0.0 into 0.0."""
    if any(node.inputs[0].tensor.shape[a] != 1 for a in node.attrs["axes"]):
        return None
    return reshape(node.inputs[0], shape=node.tensor.shape)


def divide_by_power_of_two(node: Node) -> Node | None:
    """x / c -> x * (1/c), for c a power of two whose inverse is a normal number: both are exact."""
    divisor = constant_value(node.inputs[1])
    if not isinstance(divisor, float) or not math.isfinite(divisor) or divisor == 0.0:
        return None
    limits = FLOATS[node.tensor.dtype]
    inverse = 1.0 / divisor
    mantissa, _ = math.frexp(divisor)
    if abs(mantissa) != 0.5 or not float(limits.tiny) <= abs(inverse) <= float(limits.max):
        return None
    return mul(node.inputs[0], inverse)


def negate_constant(node: Node) -> Node | None:
    """neg(x) * c -> x * (-c), and c * neg(x): a product's sign is the product of signs."""
    for negated, constant in (node.inputs, node.inputs[::-1]):
        value = constant_value(constant)
        if negated.op.name == "neg" and isinstance(value, float):
            return mul(negated.inputs[0], -value)
    return None


def _names(*families: str) -> tuple[str, ...]:
    """Every op of these families."""
    found = (op for op in OPERATORS.values() if isinstance(op, Op) and op.family in families)
    return tuple(op.name for op in found)


def function_rules() -> tuple[FunctionRule, ...]:
    """The steps beyond algebra, over the ops that are declared now."""
    xs, ys = ("f32[N,3]", "f32[3]")
    two, half, eight = (
        f"full() {{dtype=f32, shape=(3,), value={v}}} : f32[3]" for v in (2.0, 0.5, 8.0)
    )
    tenth = "full() {dtype=f32, shape=(N, 3), value=0.1} : f32[N,3]"
    return (
        FunctionRule("fold-elementwise", _names("elementwise"), fold_elementwise, (
            example(ys, two, half, "add(%a, %b) : f32[3]", "mul(%x, %c) : f32[3]"),
            example(ys, two, half, "less(%a, %b) : bool[3]", "where(%c, %a, %x) : f32[3]"),
        )),
        FunctionRule("fold-view", _names("view", "alias"), fold_view, (
            example(ys, two, "reshape(%a) {shape=(3, 1)} : f32[3,1]"),
            example(ys, two, "pad(%a) {high=(1,), interior=(0,), low=(0,), value=2.0} : f32[4]"),
        )),
        FunctionRule("fold-reduction", _names("reduction"), fold_reduction, (
            example(ys, half, "sum(%a) {axes=(0,), keepdims=False} : f32[]"),
            example(ys, tenth, "max(%a) {axes=(0,), keepdims=False} : f32[3]"),
        )),
        FunctionRule("extreme-of-broadcast", ("max", "min"), extreme_of_broadcast, (
            example(ys, "broadcast(%x) {axes=(1,), shape=(N, 3)} : f32[N,3]",
                    "max(%a) {axes=(0,), keepdims=False} : f32[3]"),
            example(ys, "broadcast(%x) {axes=(0,), shape=(3, 4)} : f32[3,4]",
                    "min(%a) {axes=(1,), keepdims=True} : f32[3,1]"),
        )),
        FunctionRule("extreme-of-one", ("max", "min"), extreme_of_one, (
            example(xs, "reshape(%x) {shape=(N, 1, 3)} : f32[N,1,3]",
                    "max(%a) {axes=(1,), keepdims=False} : f32[N,3]"),
        )),
        FunctionRule("divide-by-power-of-two", ("div",), divide_by_power_of_two, (
            example(ys, eight, "div(%x, %a) : f32[3]"),
        )),
        FunctionRule("negate-constant", ("mul",), negate_constant, (
            example(ys, half, "neg(%x) : f32[3]", "mul(%b, %a) : f32[3]"),
            example(ys, half, "neg(%x) : f32[3]", "mul(%a, %b) : f32[3]"),
        )),
    )  # fmt: skip


def rules(fastmath: bool = False) -> tuple[Rewrite, ...]:
    """Every rule: those on the ops, algebra, steps beyond algebra; `fastmath` adds its rows."""
    declared = [r for op in OPERATORS.values() if isinstance(op, Op) for r in op.rules]
    return (*function_rules(), *VIEW_RULES, *declared, *ALGEBRA, *(FASTMATH if fastmath else ()))


@dataclass(frozen=True)
class Simplify(RulePass):
    """Applies every rule until none fires: cheaper nodes for the same bits.

    add(mul(x, 1.0), neg(exp(c)))  ->  sub(x, c')        with c' the number exp(c)

    Dead code needs no rule, since a graph is what its outputs reach; nor do common subexpressions,
    since equal nodes are one node from the start:

    >>> from graphc.ir.text import parse
    >>> graph = parse('''graph twice(%x: f32[3]) {
    ...   %one = full() {dtype=f32, shape=(3,), value=1.0} : f32[3]
    ...   %a = exp(%x) : f32[3]
    ...   %again = exp(%x) : f32[3]
    ...   %unused = tanh(%x) : f32[3]
    ...   %b = mul(%again, %one) : f32[3]
    ...   %c = add(%a, %b) : f32[3]
    ...   return %c
    ... }''')
    >>> print(Simplify()(graph))  # doctest: +ELLIPSIS
    graph twice(%x: f32[3]) {
      %exp = exp(%x) : f32[3]...
      %add = add(%exp, %exp) : f32[3]...
      return %add
    }

    fastmath: also use rules of real numbers, which differ for nan, infinities, -0.0 and in rounding
    (x * 0 -> 0, x - x -> 0, (x * 2) * 3 -> x * 6).
    """

    name: ClassVar[str] = "simplify"
    fastmath: bool = False

    def rules(self) -> Sequence[Rewrite]:
        return rules(self.fastmath)


FAMILY_COST = {"reduction": 4, "contraction": 100, "layer": 50}


def cost(outputs: Iterable[Node]) -> int:
    """What the rules lower: one for each node that computes, and the weight of what it computes.

    An expression of constants costs one, however large: it is a number once folded. Inputs are
    free.
    """
    total, seen, waiting = 0, set[Node](), list(outputs)
    while waiting:
        node = waiting.pop()
        if node in seen or family_of(node) == "input":
            continue
        seen.add(node)
        total += 1
        if node.inputs and all(map(_is_constant, node.inputs)):
            continue
        total += _weight(node)
        waiting.extend(node.inputs)
    return total


def _weight(node: Node) -> int:
    family = family_of(node)
    return additions_of(node) if family == "elementwise" else FAMILY_COST.get(family, 0)


def _is_constant(node: Node) -> bool:
    return node.op.name == "full"


def _all_constant(node: Node) -> bool:
    return bool(node.inputs) and all(map(_is_constant, node.inputs))


def _one(constant: Node) -> Any:
    """A constant as one element."""
    return np.asarray(constant.attrs["value"], constant.tensor.dtype.numpy)


def _whole(constant: Node, n: int) -> Any:
    """A constant as an array, with N = n."""
    return np.full(constant.tensor.concrete(n), _one(constant))


def _constant(node: Node, element: Any) -> Node | None:
    """The constant of `node`'s type whose elements all are `element`."""
    type: TensorType = node.tensor
    if type.layout != "batch_first":
        return None
    return full(np.asarray(element, type.dtype.numpy).item(), shape=type.shape, dtype=type.dtype)


def _sums_exactly(constant: Node, count: int) -> bool:
    """Whether adding `count` copies of a constant rounds nowhere, in whatever order.

    v = m 2^e with m an odd integer: every partial sum is k m 2^e with k <= count, and exact if
    count |m| fits the mantissa (integers wrap, which is exact in any order too).
    """
    dtype = constant.tensor.dtype
    if not dtype.is_float:
        return True
    value = float(_one(constant))
    if value == 0.0:
        return math.copysign(1.0, value) > 0
    if not math.isfinite(value):
        return True
    numerator, _ = value.as_integer_ratio()
    odd = abs(numerator) // (numerator & -numerator)
    fits = count * odd < 1 << (FLOATS[dtype].nmant + 1)
    return fits and count * abs(value) <= float(FLOATS[dtype].max)
