"""Index expressions against brute force: whatever form they take, they mean the same number."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from graphc.ir.index import Index, Variable, index

VARIABLES = (Variable("i", 4), Variable("j", 6), Variable("k", 3))
Meaning = Callable[[dict[Variable, int]], int]
Pair = tuple[Index, Meaning]


def _variable(v: Variable) -> Pair:
    return index(v), lambda at: at[v]


def _combined(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    numbers = st.integers(-7, 7)
    divisors = st.integers(1, 8)
    return st.one_of(
        st.tuples(inner, inner).map(
            lambda p: (p[0][0] + p[1][0], lambda at: p[0][1](at) + p[1][1](at))
        ),
        st.tuples(inner, inner).map(
            lambda p: (p[0][0] - p[1][0], lambda at: p[0][1](at) - p[1][1](at))
        ),
        st.tuples(inner, numbers).map(lambda p: (p[0][0] * p[1], lambda at: p[0][1](at) * p[1])),
        st.tuples(inner, numbers).map(lambda p: (p[1] - p[0][0], lambda at: p[1] - p[0][1](at))),
        st.tuples(inner, divisors).map(lambda p: (p[0][0] // p[1], lambda at: p[0][1](at) // p[1])),
        st.tuples(inner, divisors).map(lambda p: (p[0][0] % p[1], lambda at: p[0][1](at) % p[1])),
    )


expressions = st.recursive(
    st.sampled_from([_variable(v) for v in VARIABLES]), _combined, max_leaves=6
)


def _points() -> list[dict[Variable, int]]:
    ranges = [range(v.extent or 0) for v in VARIABLES]
    return [dict(zip(VARIABLES, values, strict=True)) for values in product(*ranges)]


POINTS = _points()


@given(expressions)
def test_an_expression_is_the_number_it_says(pair: Pair) -> None:
    expression, meaning = pair
    for at in POINTS:
        assert expression.evaluate(at.__getitem__) == meaning(at)


@given(expressions)
def test_bounds_hold(pair: Pair) -> None:
    expression, meaning = pair
    low, high = expression.bounds()
    values = [meaning(at) for at in POINTS]
    assert low is not None and high is not None
    assert low <= min(values) and max(values) <= high


@given(expressions, expressions)
def test_what_is_added_and_taken_away_leaves_no_trace(a: Pair, b: Pair) -> None:
    assert a[0] + b[0] - b[0] == a[0]
    assert hash(a[0] + b[0]) == hash(b[0] + a[0])
    assert a[0] + b[0] == b[0] + a[0]


@given(expressions, expressions)
def test_substitution_is_composition(pair: Pair, inner: Pair) -> None:
    i = VARIABLES[0]
    replaced = pair[0].substitute({i: inner[0]})
    for at in POINTS[::7]:
        value = inner[1](at)
        assert replaced.evaluate(at.__getitem__) == pair[0].evaluate(
            lambda v, at=at, value=value: value if v == i else at[v]  # type: ignore[misc]
        )


@given(expressions)
def test_linear_parts(pair: Pair) -> None:
    """A linear variable contributes its coefficient times its value, and nothing more."""
    expression = pair[0]
    for v in VARIABLES:
        if not expression.is_linear_in(v):
            continue
        rest = expression.without(v)
        assert v not in rest.variables
        for at in POINTS[::11]:
            whole = expression.evaluate(at.__getitem__)
            assert whole == rest.evaluate(at.__getitem__) + expression.coefficient(v) * at[v]


def test_quotients_and_remainders_that_are_known_vanish() -> None:
    i, j = index(Variable("i", 4)), index(Variable("j", 5))
    assert (i + 4 * j) // 4 == j
    assert (i + 4 * j) % 4 == i
    assert i // 4 == index(0)
    assert (8 * j) % 4 == index(0)
    assert index(Variable("one", 1)) == index(0)


def test_text_reads_like_arithmetic() -> None:
    i, j = index(Variable("i", 4)), index(Variable("j", 5))
    assert str(2 * i - j + 3) == "2*i - j + 3"
    assert str(-i) == "-i"
    assert str(index(0)) == "0"
    assert str((i + j) // 2) == "((i + j) // 2)"
    assert str((i + j) % 3 - 1) == "((i + j) % 3) - 1"
