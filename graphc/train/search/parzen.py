"""TPE, the tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, "Algorithms for
hyper-parameter optimization", 2011): points that look like good trials and unlike bad ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.train.search.space import Array, Choice, Parameter, Space
from graphc.train.search.trials import Objective, Report, Result, Search

GOOD_SHARE = 0.15
CANDIDATES = 24


def tpe(
    objective: Objective,
    space: Mapping[str, Parameter | Sequence[Any]] | Space,
    *,
    trials: int,
    start: int = 10,
    seed: int = 0,
    report: Report | None = None,
) -> Result:
    """`start` points at random; then, of candidates that resemble the best 15 % of the trials,
    the one that resembles the others least.

    objective: a function of one keyword for each name in the space; less is better. Every
    hyper-parameter is judged by itself. report: is told each trial. Raises GraphcError for a space
    that is none and for fewer than one trial.
    """
    search = Search(objective, Space.of(space), report)
    return search.run(_resembling, trials=trials, start=start, seed=seed)


def _resembling(search: Search, generator: np.random.Generator) -> Array:
    order = np.argsort(search.scores(), kind="stable")
    count = max(1, math.ceil(GOOD_SHARE * len(order)))
    points = np.stack(search.points)[order]
    chosen = []
    parts = search.space.parts(points)
    for (_, parameter), part in zip(search.space.parameters, parts, strict=True):
        pick = _category if isinstance(parameter, Choice) else _number
        chosen.append(pick(part[:count], part[count:], generator))
    return np.concatenate(chosen)


def _category(good: Array, bad: Array, generator: np.random.Generator) -> Array:
    """One of several, as numbers of which the largest counts: as often as among the good trials,
    each counted once more. Taking the likeliest instead would hardly try another one.
    """
    share = (good.sum(axis=0) + 1.0) / (len(good) + good.shape[1])
    chosen = generator.choice(len(share), p=share)
    return np.asarray(np.arange(len(share)) == chosen, np.float64)


def _number(good: Array, bad: Array, generator: np.random.Generator) -> Array:
    """A number in 0..1."""
    mixtures = [_mixture(part[:, 0]) for part in (good, bad)]
    means, widths = mixtures[0]
    component = generator.integers(0, len(means), CANDIDATES)
    drawn = means[component] + widths[component] * generator.standard_normal(CANDIDATES)
    candidates = np.where((drawn < 0) | (drawn > 1), generator.random(CANDIDATES), drawn)
    likeness = _log_density(candidates, *mixtures[0]) - _log_density(candidates, *mixtures[1])
    return candidates[[int(np.argmax(likeness))]]


def _mixture(seen: Array) -> tuple[Array, Array]:
    """Means and deviations of normals in 0..1: a broad one, and one at each point seen, as wide as
    the larger gap to its neighbours.
    """
    means = np.sort(np.append(seen, 0.5))
    edges = np.concatenate([[0.0], means, [1.0]])
    gaps = np.diff(edges)
    widths = np.clip(np.maximum(gaps[:-1], gaps[1:]), 1.0 / min(100, 1 + len(means)), 1.0)
    widths[np.searchsorted(means, 0.5)] = 1.0
    return means, widths


def _log_density(x: Array, means: Array, widths: Array) -> Array:
    z = (x[:, None] - means) / widths
    density: Array = np.log((np.exp(-0.5 * z**2) / widths).mean(axis=1))
    return density
