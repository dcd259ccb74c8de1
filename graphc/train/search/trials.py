"""What a search has tried: points and scores; less is better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.base.arguments import check_whole, generator_of
from graphc.base.errors import GraphcError
from graphc.train.search.space import Array, Space

Objective = Callable[..., float]
Report = Callable[["Trial"], None]
Propose = Callable[["Search", np.random.Generator], Array]


@dataclass(frozen=True)
class Trial:
    """A point and the score that the objective gave it."""

    values: dict[str, Any]
    score: float


@dataclass
class Result:
    """Every trial of a search, in order."""

    trials: list[Trial] = field(default_factory=list)

    @property
    def best(self) -> Trial:
        """The trial of the lowest score, the first of equals.

        Raises GraphcError if none is finite.
        """
        finite = [t for t in self.trials if math.isfinite(t.score)]
        if not finite:
            raise GraphcError(
                f"none of {len(self.trials)} trials has a finite score",
                remedy="search in another space, or look at what the objective returns",
            )
        return min(finite, key=lambda trial: trial.score)


@dataclass
class Search:
    """A running search: its trials, and the numbers in 0..1 that stand for their points."""

    objective: Objective
    space: Space
    report: Report | None
    result: Result = field(default_factory=Result)
    points: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not callable(self.objective):
            raise GraphcError(
                f"the objective is {self.objective!r}",
                remedy="give a function of one keyword for each name in the space",
            )

    def run(self, propose: Propose, *, trials: int, start: int, seed: int) -> Result:
        """`start` points at random, then those that `propose` gives as numbers in 0..1.

        Raises GraphcError unless `trials` and `start` are whole numbers of at least 1.
        """
        check_whole("trials", trials)
        check_whole("start", start)
        generator = generator_of("seed", seed)
        for number in range(trials):
            units = generator.random(self.space.size)
            if number >= start:
                units = propose(self, generator)
            self.attempt(self.space.decoded(units))
        return self.result

    def attempt(self, values: dict[str, Any]) -> None:
        """Runs the objective on one point.

        Raises GraphcError if it returns no number. Its own errors go through; a score that is not
        finite is the worst there is.
        """
        score = self.objective(**values)
        if not isinstance(score, int | float | np.floating | np.integer):
            raise GraphcError(
                f"the objective returned {score!r} for {values}",
                remedy="return a number that is to become small, such as the validation loss",
            )
        self.result.trials.append(Trial(values, float(score)))
        self.points.append(self.space.encoded(values))
        if self.report is not None:
            self.report(self.result.trials[-1])

    def scores(self) -> Array:
        """Scores of all trials; those that are not finite count as the worst finite one."""
        scores = np.array([trial.score for trial in self.result.trials])
        finite = np.isfinite(scores)
        worst = scores[finite].max() if finite.any() else 0.0
        return np.where(finite, scores, worst)
