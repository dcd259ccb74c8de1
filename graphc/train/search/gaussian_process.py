"""Bayesian search: a Gaussian process says where an improvement is to be expected.

Mockus, 1974; Snoek, Larochelle and Adams, "Practical Bayesian optimization of machine learning
algorithms", 2012. Formulas of the process: Rasmussen and Williams, "Gaussian processes for machine
learning", 2006, algorithm 2.1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.train.search.space import Array, Parameter, Space
from graphc.train.search.trials import Objective, Report, Result, Search

CANDIDATES = 2000
LOCAL_STEPS = (0.1, 0.03, 0.01)
LENGTHS = tuple(np.geomspace(0.05, 3.0, 14).tolist())
NOISES = (1e-6, 1e-4, 1e-2, 1e-1)

_erf = np.frompyfunc(math.erf, 1, 1)


@dataclass(frozen=True)
class GaussianProcess:
    """A process of mean 0 and variance 1 with Matern's kernel of smoothness 5/2, after it has seen
    values y [n] at points x [n,d].

    length: of the kernel; noise: variance of what disturbs the values.
    """

    x: Array
    y: Array
    length: float
    noise: float

    def predicted(self, points: Array) -> tuple[Array, Array]:
        """(mean, deviation) of the undisturbed value at each of the points [m,d]."""
        lower = self._lower()
        between = _matern(self.x, points, self.length)
        half = np.linalg.solve(lower, between)
        mean = half.T @ np.linalg.solve(lower, self.y)
        variance = 1.0 - (half**2).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def log_likelihood(self) -> float:
        """log p(y | x), the logarithm of the marginal likelihood."""
        lower = self._lower()
        half = np.linalg.solve(lower, self.y)
        determinant = 2.0 * np.log(np.diag(lower)).sum()
        return float(-0.5 * (half @ half + determinant + len(self.y) * math.log(2 * math.pi)))

    def _lower(self) -> Array:
        covariance = _matern(self.x, self.x, self.length) + self.noise * np.eye(len(self.x))
        return np.linalg.cholesky(covariance)

    @staticmethod
    def fitted(x: Array, y: Array) -> GaussianProcess:
        """The process, among a grid of lengths and noises, under which the values are likeliest."""
        processes = [GaussianProcess(x, y, *pair) for pair in itertools.product(LENGTHS, NOISES)]
        return max(processes, key=GaussianProcess.log_likelihood)


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """By how much normal values of that mean and deviation are expected to fall below `best`."""
    gap = best - mean
    safe = np.where(deviation > 0, deviation, 1.0)
    z = gap / safe
    below = 0.5 * (1.0 + np.asarray(_erf(z / math.sqrt(2.0)), np.float64))
    density = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    return np.where(deviation > 0, gap * below + safe * density, np.maximum(gap, 0.0))


def bayesian(
    objective: Objective,
    space: Mapping[str, Parameter | Sequence[Any]] | Space,
    *,
    trials: int,
    start: int = 5,
    seed: int = 0,
    report: Report | None = None,
) -> Result:
    """`start` points at random, then each where the expected improvement is largest.

    objective: a function of one keyword for each name in the space; less is better. It pays where
    an evaluation is dear: a step of the search costs some milliseconds, more with every trial.
    report: is told each trial. Raises GraphcError for a space that is none and for fewer than one
    trial.
    """
    search = Search(objective, Space.of(space), report)
    return search.run(_most_promising, trials=trials, start=start, seed=seed)


def _most_promising(search: Search, generator: np.random.Generator) -> Array:
    """The candidate of the largest expected improvement, as numbers in 0..1."""
    scores = search.scores()
    spread = scores.std()
    y = (scores - scores.mean()) / (spread if spread > 0 else 1.0)
    process = GaussianProcess.fitted(np.stack(search.points), y)
    drawn = [generator.random((CANDIDATES, search.space.size))]
    centre = search.points[int(np.argmin(scores))]
    for step in LOCAL_STEPS:
        moved = centre + step * generator.standard_normal((CANDIDATES // 10, len(centre)))
        drawn.append(np.clip(moved, 0.0, 1.0))
    candidates = search.space.snapped(np.concatenate(drawn))
    gain = expected_improvement(*process.predicted(candidates), float(y.min()))
    best: Array = candidates[int(np.argmax(gain))]
    return best


def _matern(a: Array, b: Array, length: float) -> Array:
    """The kernel between points [n,d] and [m,d]."""
    squared = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
    r = np.sqrt(5.0 * squared) / length
    kernel: Array = (1.0 + r + r**2 / 3.0) * np.exp(-r)
    return kernel
