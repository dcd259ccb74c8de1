"""Every rule keeps the value and lowers the cost; the pass ends, once and for all."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import OPERATORS, Node
from graphc.ir.rewrite import FunctionRule, Rewrite, Rule, RuleSet, rebuild
from graphc.ir.text import parse
from graphc.ir.types import DType, TensorType, parse_type
from graphc.ops.create import full
from graphc.ops.elementwise import add, exp, mul, sub
from graphc.ops.interpret import interpret
from graphc.ops.op import Op
from graphc.passes.simplify import FASTMATH, Simplify, cost, rules

ROUNDED = (0.1, -1 / 3, 1.2345678, -7.7e11, 3.3e-20)
SPECIAL = (-0.0, 0.0, 1.0, -1.0, -3.75, *ROUNDED, 1e-40, 3e38, -3e38, np.inf, -np.inf, np.nan)
ORDINARY = (1.5, -2.25, 0.625, -0.75, 3.0)
INTEGERS = (0, 1, -1, 7, -(2**31), 2**31 - 1)
EVERY = (*rules(), *FASTMATH)
ROWS = [r for r in EVERY if isinstance(r, Rule)]
FUNCTIONS = [r for r in EVERY if isinstance(r, FunctionRule)]


def values_of(dtype: DType, exact: bool) -> tuple[Any, ...]:
    if dtype.is_float:
        return SPECIAL if exact else ORDINARY
    return (True, False) if dtype is DType.bool else INTEGERS


def assert_same(old: Any, new: Any, ulps: int | None) -> None:
    """The same bits (any nan is as good as another), within `ulps`, or true of real numbers."""
    assert old.shape == new.shape and old.dtype == new.dtype
    if ulps is None:
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)
        return
    if ulps:
        both = np.isfinite(old) & np.isfinite(new)
        np.testing.assert_array_max_ulp(old[both], new[both], ulps)
        np.testing.assert_array_equal(old[~both], new[~both])
        return
    nan = np.isnan(old) & np.isnan(new) if old.dtype.kind == "f" else np.zeros(old.shape, bool)
    same = np.ascontiguousarray(old[~nan]).tobytes() == np.ascontiguousarray(new[~nan]).tobytes()
    assert same, f"{old[~nan]} became {new[~nan]}"


def instances(rule: Rule) -> list[tuple[Node, dict[str, Any]]]:
    """The left side for every dtype that fits, with every combination of special values."""
    found = []
    dtypes = (DType.f32, DType.f64, DType.i32, DType.bool)
    for chosen in itertools.product(dtypes, repeat=len(rule.variables)):
        exact = rule.ulps is not None
        grid = list(itertools.product(*(values_of(d, exact) for d in chosen)))
        arrays, bindings = {}, {}
        for k, (name, dtype) in enumerate(zip(rule.variables, chosen, strict=True)):
            if name in rule.constants:
                bindings[name] = full(float(k + 2), shape=(len(grid),), dtype=dtype)
                continue
            bindings[name] = make_input(name, TensorType(dtype, (len(grid),)))
            arrays[name] = np.array([row[k] for row in grid], dtype.numpy)
        try:
            left = rule.instance(bindings)
        except GraphcError:
            continue  # these dtypes do not fit the ops of the rule
        if rule.apply(left) is not None:
            found.append((left, arrays))
    return found


@pytest.mark.parametrize("rule", ROWS, ids=lambda r: r.name)
def test_a_row_of_algebra_keeps_the_value_and_lowers_the_cost(rule: Rule) -> None:
    cases = instances(rule)
    assert cases, f"{rule.name} fires for no dtypes"
    for left, arrays in cases:
        right = rule.apply(left)
        assert right is not None and right.type == left.type
        assert cost([right]) < cost([left])
        inputs = inputs_of(left)
        both = interpret(Graph("g", inputs, [left, right]), arrays, 1)
        assert_same(both[0], both[1], rule.ulps)


def inputs_of(node: Node) -> list[Node]:
    found, waiting = {}, [node]
    while waiting:
        at = waiting.pop()
        waiting.extend(at.inputs)
        if at.op.name == "input":
            found[at] = None
    return sorted(found, key=lambda i: str(i.attrs["name"]))


def drawn(graph: Graph, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays = {}
    for node in graph.inputs:
        shape, dtype = node.tensor.concrete(n), node.tensor.dtype
        arrays[node.attrs["name"]] = rng.choice(values_of(dtype, True), shape).astype(dtype.numpy)
    return arrays


@pytest.mark.parametrize("rule", FUNCTIONS, ids=lambda r: r.name)
def test_a_step_beyond_algebra_keeps_the_value_and_lowers_the_cost(rule: FunctionRule) -> None:
    assert rule.examples, f"{rule.name} has no example"
    for text in rule.examples:
        old = parse(text)
        ruleset = RuleSet((rule,))
        new = ruleset.simplified(old)
        assert ruleset.fired[rule.name] >= 1, f"{rule.name} does not fire in\n{old}"
        assert cost(new.outputs) <= cost(old.outputs)
        assert len(new) < len(old) or cost(new.outputs) < cost(old.outputs)
        for n in (1, 2, 3):
            arrays = drawn(old, n)
            for a, b in zip(interpret(old, arrays, n), interpret(new, arrays, n), strict=True):
                assert_same(a, b, rule.ulps)


def test_every_rule_has_a_name_of_its_own() -> None:
    names = [rule.name for rule in EVERY if rule in FASTMATH] + [r.name for r in rules()]
    assert len(set(names)) == len(names)


def simplified(text: str, **options: bool) -> Graph:
    old = parse(text)
    new = Simplify(**options)(old)
    assert Simplify(**options)(new) is new
    return new


UNCHANGED = {
    "x * 0": ("full() {dtype=f32, shape=(3,), value=0.0} : f32[3]", "mul(%x, %a) : f32[3]"),
    "x + 0.0": ("full() {dtype=f32, shape=(3,), value=0.0} : f32[3]", "add(%x, %a) : f32[3]"),
    "x - x": ("exp(%x) : f32[3]", "sub(%a, %a) : f32[3]"),
    "sum of tenths": (
        "full() {dtype=f32, shape=(3,), value=0.1} : f32[3]",
        "sum(%a) {axes=(0,), keepdims=False} : f32[]",
    ),
    "sum over the batch": (
        "full() {dtype=f32, shape=(N,), value=1.0} : f32[N]",
        "sum(%a) {axes=(0,), keepdims=False} : f32[]",
    ),
    "sum of -0.0": (
        "full() {dtype=f32, shape=(3,), value=-0.0} : f32[3]",
        "sum(%a) {axes=(0,), keepdims=False} : f32[]",
    ),
    "sum that rounds up to infinity": (
        "full() {dtype=f32, shape=(4,), value=2e+38} : f32[4]",
        "sum(%a) {axes=(0,), keepdims=False} : f32[]",
    ),
    "sum of one element": ("sum(%x) {axes=(0,), keepdims=True} : f32[1]",),
    "sum pooling at a border": (
        "full() {dtype=f32, shape=(1, 1, 4, 4), value=1.0} : f32[1,1,4,4]",
        "sum_pool2d(%a) {padding=(1, 1, 1, 1), stride=(1, 1), window=(2, 2)} : f32[1,1,5,5]",
    ),
    "crop, then pad": (
        "pad(%x) {high=(0,), interior=(0,), low=(-1,), value=0.0} : f32[2]",
        "pad(%a) {high=(0,), interior=(0,), low=(1,), value=0.0} : f32[3]",
    ),
    "two fills": (
        "pad(%x) {high=(0,), interior=(0,), low=(1,), value=0.0} : f32[4]",
        "pad(%a) {high=(0,), interior=(0,), low=(1,), value=-0.0} : f32[5]",
    ),
    "slice into the padding": (
        "pad(%x) {high=(0,), interior=(0,), low=(1,), value=0.0} : f32[4]",
        "slice(%a) {start=(0,), step=(1,), stop=(3,)} : f32[3]",
    ),
    "cast that rounds": ("cast(%x) {dtype=i32} : i32[3]", "cast(%a) {dtype=f32} : f32[3]"),
    "pad a constant": (
        "full() {dtype=f32, shape=(3,), value=0.0} : f32[3]",
        "pad(%a) {high=(0,), interior=(0,), low=(1,), value=-0.0} : f32[4]",
    ),
    "divide by 3": (
        "full() {dtype=f32, shape=(3,), value=3.0} : f32[3]",
        "div(%x, %a) : f32[3]",
    ),
    "divide by a tiny power of two": (
        "full() {dtype=f32, shape=(3,), value=7.346839692639297e-40} : f32[3]",
        "div(%x, %a) : f32[3]",
    ),
    "divide by a huge power of two": (
        "full() {dtype=f32, shape=(3,), value=1.7014118346046923e+38} : f32[3]",
        "div(%x, %a) : f32[3]",
    ),
    "max of a kept broadcast": (
        "broadcast(%x) {axes=(2,), shape=(2, 4, 3)} : f32[2,4,3]",
        "max(%a) {axes=(0,), keepdims=False} : f32[4,3]",
    ),
    "max over the own axis of a broadcast": (
        "broadcast(%x) {axes=(1,), shape=(2, 3)} : f32[2,3]",
        "max(%a) {axes=(0, 1), keepdims=False} : f32[]",
    ),
}


@pytest.mark.parametrize("lines", UNCHANGED.values(), ids=UNCHANGED)
def test_what_would_change_a_bit_stays_the_same_object(lines: tuple[str, ...]) -> None:
    named = [f"%{name} = {line}" for name, line in zip("abc", lines, strict=False)]
    x = "f32[1]" if len(lines) == 1 else "f32[3]"
    text = f"graph g(%x: {x}) {{ {' '.join(named)} return %{'abc'[len(lines) - 1]} }}"
    graph = parse(text)
    assert Simplify()(graph) is graph


def test_constants_fold_into_one_number() -> None:
    graph = simplified(
        """graph g(%x: f32[3]) {
          %two = full() {dtype=f32, shape=(3,), value=2.0} : f32[3]
          %e = exp(%two) : f32[3]
          %r = reshape(%e) {shape=(1, 3)} : f32[1,3]
          %b = broadcast(%r) {axes=(0, 1), shape=(N, 3)} : f32[N,3]
          %m = max(%b) {axes=(0, 1), keepdims=False} : f32[]
          %c = broadcast(%m) {axes=(), shape=(3,)} : f32[3]
          %y = add(%x, %c) : f32[3]
          return %y
        }"""
    )
    constant = graph.outputs[0].inputs[1]
    assert constant.op.name == "full"
    assert constant.attrs["value"] == float(np.exp(np.float32(2.0)))
    assert len(graph) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sum_of_a_constant_that_is_not_finite_folds(value: float) -> None:
    total = gc.trace(lambda x: (x * 0.0).sum(), "f32[3]").outputs[0]
    node = total.op.build(full(value, shape=(3,)), axes=(0,))
    folded = Simplify()(Graph("g", [], [node])).outputs[0]
    assert folded is full(value)


def test_wrong_numbers_fold_without_a_warning() -> None:
    graph = simplified(
        """graph g(%x: f32[]) {
          %a = full() {dtype=f32, shape=(), value=-1.0} : f32[]
          %b = log(%a) : f32[]
          %y = add(%x, %b) : f32[]
          return %y
        }"""
    )
    assert np.isnan(graph.outputs[0].inputs[1].attrs["value"])


def test_integers_wrap_when_folded() -> None:
    graph = simplified(
        """graph g(%x: i32[]) {
          %a = full() {dtype=i32, shape=(), value=2147483647} : i32[]
          %b = add(%a, %a) : i32[]
          %y = mul(%x, %b) : i32[]
          return %y
        }"""
    )
    assert graph.outputs[0].inputs[1].attrs["value"] == -2


def test_fastmath_is_only_used_when_asked_for() -> None:
    text = """graph g(%x: f32[3]) {
      %c = full() {dtype=f32, shape=(3,), value=3.0} : f32[3]
      %d = full() {dtype=f32, shape=(3,), value=0.3} : f32[3]
      %a = mul(%x, %c) : f32[3]
      %b = mul(%d, %a) : f32[3]
      %e = sub(%b, %b) : f32[3]
      %y = add(%b, %e) : f32[3]
      return %y
    }"""
    assert simplified(text) is parse(text)
    fast = simplified(text, fastmath=True)
    assert [node.op.name for node in fast] == ["input", "full", "mul"]
    product = fast.outputs[0].inputs[1].attrs["value"]
    assert product == float(np.float32(3.0) * np.float32(0.3))


def test_an_unchanged_graph_is_the_same_object() -> None:
    graph = gc.trace(lambda x: (x @ x.T).sum() * 2.0 + x.sum(), "f32[4,4]")
    assert Simplify()(graph) is graph
    assert Simplify()(Simplify()(graph)) is graph


def test_dead_code_and_common_subexpressions_vanish_by_construction() -> None:
    x = make_input("x", TensorType(DType.f32, (3,)))
    unused = sub(exp(x), 1.0)
    graph = Graph("g", [x], [add(exp(x), exp(x))])
    assert unused not in graph.nodes
    assert len(graph) == 3


def test_outputs_and_donations_stay() -> None:
    text = """graph step(%x: f32[3], %w: parameter f32[3]) {
      %one = full() {dtype=f32, shape=(3,), value=1.0} : f32[3]
      %a = mul(%w, %one) : f32[3]
      %b = sub(%a, %x) : f32[3]
      return %x, %b into %w
    }"""
    new = simplified(text)
    assert new.donations == ((1, 1),)
    assert new.outputs[0] is new.inputs[0]
    assert len(new) == 3


def test_a_chain_of_100_000_nodes_simplifies() -> None:
    node = x = make_input("x", TensorType(DType.f32, (3,)))
    for _ in range(34_000):
        node = add(exp(node), mul(node, 1.0))
    deep = Graph("deep", [x], [node])
    graph = Simplify()(deep)
    assert len(deep) > 100_000
    assert len(graph) == 68_001
    assert {n.op.name for n in graph} == {"input", "exp", "add"}


@pytest.mark.parametrize(
    "op", [o for o in OPERATORS.values() if isinstance(o, Op) and o.samples], ids=lambda o: o.name
)
def test_simplifying_any_op_and_its_decomposition_keeps_its_value(op: Op) -> None:
    for sample in (s for s in op.samples if s.raises is None):
        inputs = [make_input(f"i{k}", parse_type(t)) for k, t in enumerate(sample.types)]
        outputs = [op.build(*inputs, **sample.attrs)]
        if not isinstance(outputs[0].type, TensorType):
            continue
        graph = Graph(op.name, inputs, outputs)
        for old in (graph, gc.passes.Pipeline.parse("decompose")(graph)):
            new = Simplify()(old)
            assert Simplify()(new) is new
            arrays = {
                str(i.attrs["name"]): np.asarray(
                    np.random.default_rng(1).integers(0, 3, i.tensor.concrete(2)),
                    i.tensor.dtype.numpy,
                )
                for i in inputs
            }
            for a, b in zip(interpret(old, arrays, 2), interpret(new, arrays, 2), strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)


def test_the_generated_tests_catch_a_rule_that_changes_a_bit() -> None:
    wrong: Rewrite = Rule("wrong", "add(x, 0.0)", "x")
    assert isinstance(wrong, Rule)
    with pytest.raises(AssertionError, match="became"):
        test_a_row_of_algebra_keeps_the_value_and_lowers_the_cost(wrong)


def test_rebuilding_by_the_identity_is_what_simplify_compares_with() -> None:
    graph = gc.trace(lambda x: x + 1.0, "f32[N,3]")
    assert rebuild(graph, lambda node, inputs: node) is graph
