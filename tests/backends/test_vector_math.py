"""exp, log, tanh, sigmoid, erf and power of the LLVM backend: their stated ULP, special values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc.tracing.tensor import function_named
from graphc_llvm.vector_math import ULP

NAN, INF = float("nan"), float("inf")


def _erf(x: np.ndarray) -> np.ndarray:
    """2 / sqrt(pi) exp(-x^2) times the sum of 2^k x^(2k+1) / (1 3 5 ... (2k+1)), in x's dtype.

    All terms have one sign, so nothing cancels; 1 beyond 6.5, where f64 has no other number.
    """
    inside = np.where(np.abs(x) < 6.5, x, 0)
    square = 2 * inside * inside
    term = inside.copy()
    total = term.copy()
    for k in range(1, 170):
        term = term * square / (2 * k + 1)
        total += term
    curve = total * np.exp(-inside * inside) / np.sqrt(np.arctan(x.dtype.type(1)))
    return np.where(np.abs(x) < 6.5, curve, np.sign(x) + 0 * np.where(np.isinf(x), 0, x))


EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": _erf,
}
DOMAIN = {
    "exp": (-104.0, 88.7),
    "log": (0.0, 3.0e38),
    "tanh": (-11.0, 11.0),
    "sigmoid": (-80, 40),
    "erf": (-5.0, 5.0),
}
DOUBLE = {
    "exp": (-744.0, 709.7),
    "log": (0.0, 1e308),
    "tanh": (-21.0, 21.0),
    "sigmoid": (-700, 40),
    "erf": (-7.0, 7.0),
}
SPECIAL = np.array([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1e-40, -1e-40, 1e-30, 100.0, -200.0])


def _run(name: str, x: np.ndarray) -> np.ndarray:
    kind = {"float32": "f32", "float64": "f64"}[x.dtype.name]
    function = function_named(name)
    assert function is not None
    graph = gc.trace(function, f"{kind}[{len(x)}]")
    return gc.compile(graph, "llvm")(x)


def _samples(low: float, high: float, dtype: type) -> np.ndarray:
    rng = np.random.default_rng(0)
    even = rng.uniform(low, high, 200_000)
    small = rng.uniform(low, high, 100_000) * 2.0 ** -rng.uniform(0, 40, 100_000)
    found = np.concatenate([even, small]).astype(dtype)
    return found[(found >= low) & (found <= high)]


def _ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Error in units in the last place of the exact value, subnormals in the least unit."""
    kind = got.dtype
    spacing = np.spacing(np.maximum(np.abs(exact.astype(kind)), np.finfo(kind).tiny))
    return np.abs(got.astype(exact.dtype) - exact) / spacing.astype(exact.dtype)


@pytest.mark.parametrize("name", EXACT)
def test_f32_is_within_its_ulp(name: str) -> None:
    x = _samples(*DOMAIN[name], np.float32)
    exact = EXACT[name](x.astype(np.float64))
    assert _ulps(_run(name, x), exact).max() <= ULP[name]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="needs a wider float to judge by")
@pytest.mark.parametrize("name", EXACT)
def test_f64_is_within_its_ulp(name: str) -> None:
    x = _samples(*DOUBLE[name], np.float64)
    exact = EXACT[name](x.astype(np.longdouble))
    assert _ulps(_run(name, x), exact).max() <= ULP[name]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_special_values(name: str, dtype: type) -> None:
    x = SPECIAL.astype(dtype)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.longdouble)).astype(dtype)
    got = _run(name, x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(exact))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(exact))
    np.testing.assert_allclose(got, exact, rtol=1e-6, atol=float(np.finfo(dtype).tiny))
    if name in ("tanh", "erf"):
        np.testing.assert_array_equal(np.signbit(got[3:5]), [False, True])


@pytest.mark.parametrize(("dtype", "least"), [(np.float32, -103.9), (np.float64, -745.1)])
def test_exp_underflows_to_0_and_no_earlier(dtype: type, least: float) -> None:
    """The least subnormal numbers are 2^-149 and 2^-1074; what is below half of them is 0."""
    beyond = np.array([-INF, -1e30, -1000.0, least - 0.2], dtype)
    assert not _run("exp", beyond).any()
    assert (_run("exp", np.array([least], dtype)) == np.finfo(dtype).smallest_subnormal).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_power_is_within_its_ulp(dtype: type) -> None:
    wider = np.float64 if dtype is np.float32 else np.longdouble
    if np.finfo(wider).nmant <= np.finfo(dtype).nmant:
        pytest.skip("needs a wider float to judge by")
    rng = np.random.default_rng(1)
    x = np.exp(rng.uniform(-5, 5, 200_000)).astype(dtype)
    y = rng.uniform(-15, 15, 200_000).astype(dtype)
    kind = "f32" if dtype is np.float32 else "f64"
    graph = gc.trace(lambda a, b: a**b, f"{kind}[{len(x)}]", f"{kind}[{len(x)}]")
    away = _ulps(gc.compile(graph, "llvm")(x, y), x.astype(wider) ** y.astype(wider))
    allowed = 1.0 if dtype is np.float32 else 2 * np.abs(y * np.log(x)) + 4
    assert (away <= allowed).all()


def test_power_follows_c() -> None:
    x = np.array([2, -2, -2, -2, 0, 0, 0, 1, NAN, -8, 9, 4, INF, 0.5], np.float32)
    y = np.array([3, 3, 2, 0.5, 0, 2, -1, NAN, 0, 1 / 3, 0.5, -0.5, 2, 10], np.float32)
    graph = gc.trace(lambda a, b: a**b, f"f32[{len(x)}]", f"f32[{len(x)}]")
    with np.errstate(all="ignore"):
        expected = np.power(x, y)
    np.testing.assert_allclose(gc.compile(graph, "llvm")(x, y), expected, rtol=2e-7)
