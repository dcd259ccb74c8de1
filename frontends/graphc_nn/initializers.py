"""Initialisers: functions of (shape, generator) that draw the first value of a parameter.

Fans are counted on torch's layouts: a Dense weight is (out, in), a Conv weight (out, in / groups,
height, width), so fan_in = shape[1] * height * width and fan_out = shape[0] * height * width.
Numbers are drawn in f32, so that they do not depend on the dtype of the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number
from graphc.base.errors import GraphcError
from graphc.tracing.trace import Array, Initializer

FORMS = ("in", "average")


def zeros(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """All 0."""
    return np.zeros(shape, np.float32)


def ones(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """All 1."""
    return np.ones(shape, np.float32)


def signs(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """-1 or 1, with equal chances."""
    return np.where(generator.random(shape, np.float32) < 0.5, -1, 1).astype(np.float32)


@dataclass(frozen=True)
class Normal:
    """Gaussian of mean 0 and deviation `sigma`."""

    sigma: float

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        return generator.standard_normal(shape, np.float32) * np.float32(self.sigma)


@dataclass(frozen=True)
class Uniform:
    """Uniform in [-limit, limit)."""

    limit: float

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        return (generator.random(shape, np.float32) * 2 - 1) * np.float32(self.limit)


@dataclass(frozen=True)
class Scaled:
    """Mean 0 and variance gain / n.

    n is fan_in, or with `form` "average" the mean of fan_in and fan_out.
    """

    gain: float
    form: str
    distribution: str

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        fan_in, fan_out = fans(shape)
        count = fan_in if self.form == "in" else (fan_in + fan_out) / 2
        sigma = math.sqrt(self.gain / count) if count else 0.0
        if self.distribution == "normal":
            return Normal(sigma)(shape, generator)
        return Uniform(math.sqrt(3.0) * sigma)(shape, generator)


@dataclass(frozen=True)
class Constant:
    """All `value`."""

    value: float

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        return np.full(shape, self.value, np.float32)


@dataclass(frozen=True)
class Orthogonal:
    """`gain` times a matrix with orthonormal rows, or columns if there are more rows."""

    gain: float

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        fan_in, rows = fans(shape)[0], shape[0]
        drawn = generator.standard_normal((max(rows, fan_in), min(rows, fan_in)), np.float32)
        q, r = np.linalg.qr(drawn.astype(np.float64))
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # else the signs would not be uniform
        matrix = q if rows >= fan_in else q.T
        return (self.gain * matrix).reshape(shape).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Given:
    """A copy of `array`."""

    array: Array

    def __call__(self, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
        return self.array.copy()


def constant(value: float) -> Initializer:
    """All `value`. Raises GraphcError if it is not finite."""
    check_number("constant: value", value, -math.inf)
    return Constant(float(value))


def normal(sigma: float) -> Initializer:
    """Gaussian of mean 0 and deviation `sigma`. Raises GraphcError if `sigma` is negative."""
    return Normal(_size("normal", "sigma", sigma))


def uniform(limit: float) -> Initializer:
    """Uniform in [-limit, limit). Raises GraphcError if `limit` is negative."""
    return Uniform(_size("uniform", "limit", limit))


def xavier_uniform(form: str = "average") -> Initializer:
    """Uniform of variance 2 / (n_in + n_out), or 1 / n_in with `form` "in".

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010.
    """
    return Scaled(1.0, _form("xavier_uniform", form), "uniform")


def xavier_normal(form: str = "average") -> Initializer:
    """Gaussian of variance 2 / (n_in + n_out), or 1 / n_in with `form` "in"."""
    return Scaled(1.0, _form("xavier_normal", form), "normal")


def he_normal() -> Initializer:
    """Gaussian of variance 2 / n_in, for layers followed by ReLU.

    He et al., "Delving deep into rectifiers", 2015.
    """
    return Scaled(2.0, "in", "normal")


def he_uniform() -> Initializer:
    """Uniform of variance 2 / n_in, for layers followed by ReLU."""
    return Scaled(2.0, "in", "uniform")


def orthogonal(gain: float = 1.0) -> Initializer:
    """`gain` times a random matrix with orthonormal rows, or columns if it is higher than wide.

    A Conv weight counts as the matrix (out, in / groups * height * width). Saxe et al., "Exact
    solutions to the nonlinear dynamics of learning in deep linear neural networks", 2014. Raises
    GraphcError if `gain` is negative.
    """
    return Orthogonal(_size("orthogonal", "gain", gain))


def from_array(array: Any) -> Initializer:
    """A copy of `array`, such as the weight of an autoencoder's encoder.

    It is copied at once: training the network that it comes from changes nothing. Raises
    GraphcError unless it holds finite numbers; a model raises if its parameter has another shape.
    """
    copied = as_numbers("from_array", array).copy()
    if copied.dtype.kind not in "fiu" or not np.isfinite(copied).all():
        raise GraphcError(
            f"from_array: an array of dtype {copied.dtype} that is not all finite numbers",
            remedy='give an array of numbers, such as model.params["0.weight"]',
        )
    return Given(copied)


def torch_weight() -> Initializer:
    """Uniform in +-1/sqrt(n_in): what PyTorch gives the weights of Linear and Conv2d."""
    return Scaled(1.0 / 3.0, "in", "uniform")


def torch_bias(fan_in: int) -> Initializer:
    """Uniform in +-1/sqrt(fan_in): a bias by the fan of its layer's weight, as in PyTorch."""
    return Uniform(1.0 / math.sqrt(fan_in) if fan_in else 0.0)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight. Raises GraphcError if `shape` is not that of a weight."""
    if len(shape) < 2:
        raise GraphcError(
            f"a parameter of shape {list(shape)} has no fans",
            remedy="use zeros, ones, normal or uniform for biases and other vectors",
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _form(function: str, form: str) -> str:
    if form not in FORMS:
        raise GraphcError(
            f"{function}: form {form!r}", remedy='use "average" for 2/(n_in+n_out), "in" for 1/n_in'
        )
    return form


def _size(function: str, argument: str, value: float) -> float:
    check_number(f"{function}: {argument}", value, 0.0)
    return float(value)
