"""Grid and random search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from graphc.base.arguments import check_whole, generator_of
from graphc.train.search.space import Parameter, Space
from graphc.train.search.trials import Objective, Report, Result, Search


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
    search = Search(objective, Space.of(space), report)
    parameters = search.space.parameters
    names = [name for name, _ in parameters]
    for values in itertools.product(*(parameter.grid(points) for _, parameter in parameters)):
        search.attempt(dict(zip(names, values, strict=True)))
    return search.result


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
    search = Search(objective, Space.of(space), report)
    generator = generator_of("seed", seed)
    for _ in range(trials):
        search.attempt(search.space.decoded(generator.random(search.space.size)))
    return search.result
