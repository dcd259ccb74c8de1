"""Grid and random search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from graphc.base.arguments import check_whole, generator_of
from graphc.train.search.space import Parameter, Space
from graphc.train.search.trials import History, Objective, Report, Result


def grid(
    objective: Objective,
    space: Mapping[str, Parameter | Sequence[Any]] | Space,
    *,
    points: int = 5,
    report: Report | None = None,
) -> Result:
    """Every combination of values.

    objective: a function of one keyword for each name in the space; less is better. points: how
    many values of a range. report: is told each trial. Raises GraphcError for a space that is none.
    """
    check_whole("points", points)
    history = History(objective, Space.of(space), report)
    parameters = history.space.parameters
    names = [name for name, _ in parameters]
    for values in itertools.product(*(parameter.grid(points) for _, parameter in parameters)):
        history.attempt(dict(zip(names, values, strict=True)))
    return history.result


def random(
    objective: Objective,
    space: Mapping[str, Parameter | Sequence[Any]] | Space,
    *,
    trials: int,
    seed: int = 0,
    report: Report | None = None,
) -> Result:
    """Points drawn independently (Bergstra and Bengio, "Random search for hyper-parameter
    optimization", 2012).

    objective: a function of one keyword for each name in the space; less is better. report: is told
    each trial. Raises GraphcError for a space that is none and for fewer than one trial.
    """
    check_whole("trials", trials)
    history = History(objective, Space.of(space), report)
    generator = generator_of("seed", seed)
    for _ in range(trials):
        history.attempt(history.space.decoded(generator.random(history.space.size)))
    return history.result
