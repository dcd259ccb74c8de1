"""Rewriting: rules match and build what their text says; a runaway names the rules that fight."""

from __future__ import annotations

import pytest

from graphc.base.errors import InternalError
from graphc.base.source import Location, written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, make
from graphc.ir.rewrite import FunctionRule, Rule, RuleSet, rebuild, substitute
from graphc.ir.types import parse_type
from graphc.ops.create import full
from graphc.ops.elementwise import add, exp, leaky_relu, mul, neg, sub
from graphc.ops.views import relayout

X = make_input("x", parse_type("f32[N,3]"))
Y = make_input("y", parse_type("f32[N,3]"))
I = make_input("i", parse_type("i32[4]"))


def number(value: float, like: Node = X) -> Node:
    return full(value, shape=like.tensor.shape, dtype=like.tensor.dtype)


def test_a_variable_that_occurs_twice_matches_one_node() -> None:
    rule = Rule("sub-self", "sub(x, x)", "0.0")
    assert rule.apply(sub(X, X)) is number(0.0)
    assert rule.apply(sub(X, Y)) is None


def test_a_float_constant_matches_to_the_bit_and_an_integer_by_value() -> None:
    rule = Rule("add-minus-zero", "add(x, -0.0)", "x")
    assert rule.apply(add(X, number(-0.0))) is X
    assert rule.apply(add(X, number(0.0))) is None
    assert rule.apply(add(I, number(0, I))) is I


def test_a_call_in_a_pattern_matches_no_node_with_attributes() -> None:
    assert Rule("leaky", "leaky_relu(x)", "x").apply(leaky_relu(X)) is None


def test_a_guard_and_constant_variables_decide() -> None:
    never = Rule("never", "mul(x, y)", "x", guard=lambda bound: bound["x"] is Y)
    assert never.apply(mul(X, Y)) is None
    assert never.apply(mul(Y, X)) is Y
    constant = Rule("constant", "mul(x, c)", "x", constants=("c",))
    assert constant.apply(mul(X, Y)) is None
    assert constant.apply(mul(X, number(3.0))) is X


def test_a_rule_that_would_change_type_or_layout_does_not_apply() -> None:
    stored = relayout(X, layout="batch_last")
    mixed = add(X, stored)
    assert mixed.tensor.layout == "batch_last"
    assert Rule("first", "add(x, y)", "x").apply(mixed) is None
    assert Rule("second", "add(x, y)", "y").apply(mixed) is stored
    assert Rule("integer", "less(x, y)", "x").apply(make("less", (X, Y))) is None


def test_numbers_on_the_right_take_the_type_of_what_is_beside_them() -> None:
    rule = Rule("shift", "less(x, y)", "less(sub(x, 1), sub(y, 1))")
    found = rule.apply(make("less", (X, Y)))
    assert found is make("less", (sub(X, 1.0), sub(Y, 1.0)))


def test_new_nodes_keep_the_line_and_the_origin_of_the_old() -> None:
    here = Location("net.py", 7)
    with written_at(here, "layer 3"):
        node = mul(exp(X), neg(exp(Y)))
    rules = RuleSet((Rule("pull-neg", "mul(x, neg(y))", "neg(mul(x, y))"),))
    found = rules.normalize(node)
    for made in (found, found.inputs[0]):
        assert (made.location, made.origin) == (here, "layer 3")


def test_a_rule_whose_right_side_needs_more_than_the_left_binds_is_refused() -> None:
    with pytest.raises(InternalError, match=r"uses \['z'\]"):
        Rule("bad", "neg(x)", "z")
    with pytest.raises(InternalError, match="does not begin with an op"):
        Rule("bad", "x", "x")
    with pytest.raises(InternalError, match=r"calls, names and numbers, not x \+ y"):
        Rule("bad", "neg(x + y)", "x")


def test_rules_that_fight_at_one_node_are_named() -> None:
    rules = RuleSet(
        (
            Rule("to-sub", "add(x, y)", "sub(x, neg(y))"),
            Rule("to-add", "sub(x, y)", "add(x, neg(y))"),
            Rule("idle", "mul(x, 1)", "x"),
        )
    )
    with pytest.raises(InternalError, match="the rules that fight: to-add, to-sub") as caught:
        rules.normalize(add(X, Y))
    assert "idle" not in str(caught.value)


def test_rules_that_only_fight_across_rounds_are_named() -> None:
    def grow(node: Node) -> Node | None:
        return None if node.inputs[0].op.name == "exp" else neg(exp(node.inputs[0]))

    def shrink(node: Node) -> Node | None:
        return make("abs", node.inputs)

    rules = RuleSet((FunctionRule("grow", ("neg",), grow, ()),
                     FunctionRule("shrink", ("exp",), shrink, ())))  # fmt: skip
    with pytest.raises(InternalError, match="the rules that fight: grow, shrink"):
        rules.simplified(Graph("g", [X], [neg(X)]))


def test_a_rule_without_heads_is_tried_everywhere() -> None:
    def drop(node: Node) -> Node | None:
        return node.inputs[0] if node.op.name in ("exp", "neg") else None

    rules = RuleSet((FunctionRule("drop", (), drop, ()),))
    assert rules.simplified(Graph("g", [X], [neg(exp(neg(X)))])) is Graph("g", [X], [X])
    assert rules.fired == {"drop": 3}


def test_rebuild_returns_the_same_object_when_nothing_changes() -> None:
    graph = Graph("g", [X, Y], [add(exp(X), Y)])
    assert rebuild(graph, lambda node, inputs: node) is graph
    assert RuleSet(()).simplified(graph) is graph


def test_substitute_puts_a_node_in_the_place_of_another() -> None:
    graph = Graph("g", [X, Y], [add(exp(X), exp(exp(X)))])
    found = substitute(graph, {exp(X): Y})
    assert found[graph.outputs[0]] is add(Y, exp(Y))


def test_a_chain_of_100_000_nodes_is_rewritten_without_recursion() -> None:
    node = X
    for _ in range(50_000):
        node = exp(neg(node))
    rules = RuleSet((Rule("drop", "exp(neg(x))", "x"),))
    assert rules.simplified(Graph("deep", [X], [node])) is Graph("deep", [X], [X])
