"""``graphc.search``: hyper-parameters by grid, at random, by a Gaussian process, or by TPE.

``search.random(objective, space, trials=20, seed=0).best``: an objective is a function of one value
for each name in the space, and less is better. The names only; each is explained where it is
defined.
"""

from graphc.train.search.gaussian_process import GaussianProcess, bayesian, expected_improvement
from graphc.train.search.parzen import tpe
from graphc.train.search.plain import grid, random
from graphc.train.search.space import Choice, Integer, LogUniform, Parameter, Space, Uniform
from graphc.train.search.trials import Result, Trial

__all__ = [
    "Choice",
    "GaussianProcess",
    "Integer",
    "LogUniform",
    "Parameter",
    "Result",
    "Space",
    "Trial",
    "Uniform",
    "bayesian",
    "expected_improvement",
    "grid",
    "random",
    "tpe",
]
