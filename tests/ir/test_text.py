"""The text form: it reads back to the identical object, and what cannot be read says where."""

from __future__ import annotations

import random

import numpy as np
import pytest

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.text import parse
from graphc.ir.types import parse_type
from graphc.ops.create import full
from graphc.ops.elementwise import add, mul, relu, tanh
from graphc.ops.reductions import sum as sum_of
from graphc.ops.structure import fused
from graphc.passes.autodiff import gradients
from graphc.testing import random_graph

TEXT = """graph net(%x: f32[N,3], %w: parameter f32[3]) {
  %broadcast = broadcast(%w) {axes=(1,), shape=(N, 3)} : f32[N,3]
  %mul = mul(%x, %broadcast) : f32[N,3]
  %relu = relu(%mul) : f32[N,3]
  return %relu
}"""


def test_a_graph_written_by_hand_is_the_graph_built_in_code() -> None:
    x = make_input("x", parse_type("f32[N,3]"))
    w = make_input("w", parse_type("f32[3]"), "parameter")
    assert parse(TEXT) is Graph("net", (x, w), (relu(mul(x, w)),))


def test_names_comments_and_space_are_for_people() -> None:
    noisy = TEXT.replace("%mul", "%product").replace("\n", "   # said here\n\n")
    assert parse(noisy) is parse(TEXT)


@pytest.mark.parametrize(
    "name",
    ["0.weight", "a b", 'quo"te', "back\\slash", "new\nline", "ünï", "%", "", "tab\t", "\x7f"],
)
def test_any_name_reads_back(name: str) -> None:
    x = make_input(name, parse_type("f32[2]"))
    graph = Graph(name, (x,), (relu(x),))
    assert parse(str(graph)) is graph


@pytest.mark.parametrize(
    "value", [0.1, -0.0, 1e-45, 3.4e38, 1e300, float("inf"), -float("inf"), float("nan"), 5e-324]
)
def test_every_float_reads_back(value: float) -> None:
    x = make_input("x", parse_type("f64[]"))
    node = full(value, dtype=x.tensor.dtype)
    graph = Graph("g", (x,), (add(x, node),))
    assert parse(str(graph)) is graph


def test_fused_bodies_are_printed_inside_and_read_back() -> None:
    x = make_input("x", parse_type("f32[N,3]"))
    inner = make_input("a", parse_type("f32[N,3]"))
    body = Graph("scale_relu", (inner,), (relu(mul(inner, 2.0)),))
    graph = Graph("outer", (x,), (add(fused(body, x), x),))
    text = str(graph)
    assert "%scale_relu = fused(%x) : f32[N,3]" in text
    assert parse(text) is graph


def test_the_users_line_is_printed() -> None:
    x = make_input("x", parse_type("f32[77]"))
    assert "# test_text.py:" in str(Graph("g", (x,), (relu(x),)))


def test_a_gradient_says_which_node_it_is_the_gradient_of() -> None:
    x = make_input("x", parse_type("f32[78,78]"))
    inner = tanh(x)
    outer = tanh(inner)
    graph = Graph("g", (x,), (outer, *gradients(sum_of(outer), [x])))
    lines = {line.split(" =")[0].strip(): line for line in str(graph).splitlines()}
    about = {name: line.rpartition("# ")[2].split(", ") for name, line in lines.items()}
    assert about["%mul_1"] == [*about["%tanh_1"], "gradient of %tanh_1"]
    assert about["%mul_3"] == [*about["%tanh"], "gradient of %tanh"]
    assert parse(str(graph)) is graph


def test_a_gradient_of_what_the_graph_does_not_hold_names_its_op() -> None:
    x = make_input("x", parse_type("f32[79,79]"))
    slope = gradients(sum_of(mul(x, x)), [x])
    text = str(Graph("g", (x,), slope))
    assert "gradient of mul" in text and "gradient of %mul" not in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("graph net", "grap net", "expected graph, found 'grap' at line 1, column 1"),
        ("f32[N,3], %w", "f16[N,3], %w", "line 1"),
        ("%x: f32[N,3], %w", "%x: f32[N,N], %w", "N twice"),
        ("mul(%x,", "mul(%y,", "%y is not defined above at line 3, column 14"),
        ("%mul = mul", "%x = mul", "%x is defined twice at line 3, column 3"),
        ("= mul(", "= mull(", "no op named 'mull'"),
        ("= mul(", "mul(", "expected =, found 'mul' at line 3, column 8"),
        ("axes=(1,)", "axes=(1,", "line 2"),
        ("axes=(1,)", "axes=1", "axes=1 is a int (at line 2, column 3 of the graph text)"),
        ("axes=(1,)", "axis=(1,)", "has the attributes axes, shape, not axis, shape"),
        ("axes=(1,)", "axes=(x,)", "'x' is not a value at line 2, column 37"),
        ("%relu = relu(%mul) : f32[N,3]", "%relu = relu(%mul) : f32[N,4]", "is of type f32[N,3]"),
        ("%relu = relu(%mul) : f32[N,3]", "%relu = relu(%mul)", "line 5"),
        ("return %relu", "return", "line 6"),
        ("return %relu", "return %relu into %q", "%q is not defined above"),
        ("return %relu", "return %relu into %mul", "is not an input"),
        ("return %relu\n}", "return %relu", "found 'the end'"),
        ("relu\n}", "relu\n} graph", "expected end, found 'graph' at line 6, column 3"),
        ("shape=(N, 3)", "shape=(N, 'a')", "line 2"),
        ("shape=(N, 3)", "shape=" + "(" * 40, "nested more than 32 deep"),
        ("shape=(N, 3)", "shape=(N, " + "3" * 80 + ")", "a number of 80 digits"),
        ("%mul", '%"\\UFFFFFFFF"', "holds no character"),
        ("{axes", "$axes", "unexpected '$' at line 2, column 30"),
        ("parameter f32", "weight f32", "kind 'weight'"),
    ],
)
def test_what_cannot_be_read_says_where(old: str, new: str, message: str) -> None:
    with pytest.raises(GraphcError) as caught:
        parse(TEXT.replace(old, new, 1))
    assert message in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", " ", "\n\n", "#", "graph", "graph g() { return %x }", "\x00"])
def test_texts_that_are_no_graph_at_all(text: str) -> None:
    with pytest.raises(GraphcError):
        parse(text)


def test_mutated_texts_raise_graphc_errors_and_nothing_else() -> None:
    """Characters are dropped, doubled, replaced, moved; whatever parses must read back."""
    chance = random.Random(2024)
    alphabet = "%(){},:=.-\"'\\#0129Nfinabcdexu[] \nTrueNone" + "é²\x00"
    texts = [str(random_graph(np.random.default_rng(seed), max_ops=4)) for seed in range(25)]
    read = 0
    for round in range(2500):
        letters = list(texts[round % len(texts)])
        for _ in range(chance.randint(1, 4)):
            at, to = chance.randrange(len(letters)), chance.randrange(len(letters))
            kind = chance.randrange(5)
            if kind == 0:
                del letters[at : at + chance.randint(1, 5)]
            elif kind == 1:
                letters.insert(at, chance.choice(alphabet))
            elif kind == 2:
                letters[at] = chance.choice(alphabet)
            elif kind == 3:
                letters[at:at] = letters[to : to + chance.randint(1, 12)]
            else:
                letters[at], letters[to] = letters[to], letters[at]
            letters = letters or ["g"]
        text = "".join(letters)
        try:
            graph = parse(text)
        except GraphcError:
            continue
        except Exception as error:
            raise AssertionError(f"seed 2024, round {round}: {error!r} for\n{text}") from error
        read += 1
        assert parse(str(graph)) is graph, f"seed 2024, round {round}"
    assert read > 100
