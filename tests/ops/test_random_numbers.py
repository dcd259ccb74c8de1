"""Random numbers: the published vectors of Threefry, and what dropout makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import N, parse_type
from graphc.ops.create import random_uniform, threefry, threefry_numpy
from graphc.ops.regularization import dropout
from graphc.testing.definition import Arrays

KEY = make_input("key", parse_type("i32[]"), "state")
X = make_input("x", parse_type("f32[N,40]"))
ONES = 0xFFFFFFFF
# key, counter, first word: from the file kat_vectors of Random123, threefry2x32 with 20 rounds
KNOWN = (
    ((0, 0), (0, 0), 0x6B200159),
    ((ONES, ONES), (ONES, ONES), 0x1CB996FC),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), 0xC4923A9C),
)


@pytest.mark.parametrize(("key", "counter", "word"), KNOWN)
def test_known_answers(key: Any, counter: Any, word: int) -> None:
    assert int(threefry_numpy(key, counter)) == word
    shape = (1,)
    signed = [np.asarray([w], np.uint32).view(np.int32) for w in (*key, *counter)]
    found = threefry(Arrays({}, shape), (signed[0], signed[1]), (signed[2], signed[3]))
    assert found.view(np.uint32).tolist() == [word]


def _drawn(backend: str, key: int, shape: Any, stream: int = 0, n: int = 1) -> np.ndarray:
    """Random numbers of that shape; a data input carries the batch."""
    from graphc.ops.elementwise import add, mul
    from graphc.ops.views import broadcast

    carrier = make_input("carrier", parse_type("f32[N,1]"))
    drawn = random_uniform(KEY, shape=shape, stream=stream)
    if N in shape:
        drawn = add(drawn, broadcast(mul(carrier, 0.0), shape=shape))
        graph = Graph("draw", (KEY, carrier), (drawn,))
        fed = {"key": np.int32(key), "carrier": np.ones((n, 1), np.float32)}
        return np.asarray(gc.compile(graph, backend)(**fed))
    return np.asarray(gc.compile(Graph("draw", (KEY,), (drawn,)), backend)(key=np.int32(key)))


def test_uniform_numbers_have_the_moments_of_the_uniform_distribution(backend: str) -> None:
    found = _drawn(backend, 17, (100, 1000))
    assert found.dtype == np.float32
    assert found.min() >= 0 and found.max() < 1
    assert abs(found.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / found.size)
    assert abs(found.var() - 1 / 12) < 0.001
    counts, _ = np.histogram(found, bins=50, range=(0, 1))
    assert ((counts - 2000) ** 2 / 2000).sum() < 110  # chi-squared, 49 degrees of freedom, p 1e-6


def test_numbers_are_the_same_bits_on_every_backend(backend: str) -> None:
    for key in (0, -1, 12345, -(2**31)):
        assert _drawn(backend, key, (7, 33)).tobytes() == _drawn("numpy", key, (7, 33)).tobytes()


def test_keys_and_streams_tell_draws_apart(backend: str) -> None:
    draws = [_drawn(backend, key, (64,), stream) for key in (0, 1) for stream in (0, 1)]
    assert len({d.tobytes() for d in draws}) == 4
    pairs = [abs(np.corrcoef(a, b)[0, 1]) for k, a in enumerate(draws) for b in draws[:k]]
    assert max(pairs) < 0.5


def test_a_sample_draws_the_same_numbers_in_any_batch(backend: str) -> None:
    large = _drawn(backend, 3, (N, 5), n=20)
    small = _drawn(backend, 3, (N, 5), n=2)
    assert large[:2].tobytes() == small.tobytes()
    assert len({row.tobytes() for row in large}) == 20


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_dropout_drops_at_its_rate_and_scales_the_rest(rate: float, backend: str) -> None:
    graph = Graph("drop", (X, KEY), (dropout(X, KEY, rate=rate),))
    found = gc.compile(graph, backend)(x=np.ones((500, 40), np.float32), key=np.int32(5))
    assert abs((found == 0).mean() - rate) < 0.02
    np.testing.assert_allclose(found[found != 0], 1 / (1 - rate), rtol=1e-6)


def test_the_gradient_of_dropout_has_the_same_mask(backend: str) -> None:
    graph = Graph("drop", (X, KEY), (dropout(X, KEY, rate=0.5),))
    summed = gc.grad(Graph("loss", (X, KEY), (_total(graph.outputs[0]),)), wrt=["x"])
    fed = {"x": np.ones((9, 40), np.float32), "key": np.int32(8)}
    forward = gc.compile(graph, backend)(**fed)
    np.testing.assert_array_equal(gc.compile(summed, backend)(**fed), forward)


def _total(node: Any) -> Any:
    from graphc.ops.reductions import sum as sum_of

    return sum_of(node)
