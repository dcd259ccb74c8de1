"""The singular values of weight matrices, and the ranks to which matrices are cut.

W = U S V^T, and W_t keeps the t largest singular values. By Eckart and Young (1936) no matrix of
rank t is nearer: ||W - W_t||_2 is exactly sigma_(t+1). As two factors W_t has t (u + v) weights,
fewer than u v below the break-even rank u v / (u + v). It knows arrays and no graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """A matrix [u, v] as left [u, k] times diag(values [k], descending) times right [k, v]."""

    left: Array
    values: Array
    right: Array

    @classmethod
    def of(cls, matrix: Array) -> Decomposition:
        """The decomposition of a finite matrix, computed in f64."""
        return cls(*np.linalg.svd(matrix.astype(np.float64), full_matrices=False))

    @property
    def shape(self) -> tuple[int, int]:
        """(u, v)."""
        return self.left.shape[0], self.right.shape[1]

    @cached_property
    def kept(self) -> list[float]:
        """For t = 0, 1, ...: the sum of the t largest squares over that of all.

        1 throughout for a matrix of zeros.
        """
        squares = np.concatenate([[0.0], np.cumsum(self.values**2)])
        total = squares[-1]
        return [float(q / total) if total else 1.0 for q in squares]

    def rank_for_energy(self, energy: float) -> int:
        """The least rank that keeps this share of the sum of squared singular values."""
        whole = len(self.values)
        return next((t for t in range(1, whole) if self.kept[t] >= energy), whole)

    def rank_for_error(self, error: float) -> int:
        """The least rank t with ||W - W_t||_2 of at most `error`."""
        whole = len(self.values)
        return next((t for t in range(1, whole) if self.values[t] <= error), whole)

    def factors(self, rank: int) -> tuple[Array, Array]:
        """(right [rank, v], left [u, rank]): W_t is left @ right, the singular values in right."""
        return self.values[:rank, None] * self.right[:rank], self.left[:, :rank]

    def truncated(self, rank: int) -> Array:
        """W_t, the nearest matrix of that rank."""
        right, left = self.factors(rank)
        return left @ right


def break_even(u: int, v: int) -> tuple[float, int]:
    """(u v / (u + v), the largest rank below it): beyond it two factors are no smaller."""
    return u * v / (u + v), (u * v - 1) // (u + v)


def ranks_within(budget: int, matrices: Sequence[Decomposition]) -> list[int]:
    """A rank for each matrix, so that all factors together have at most `budget` weights and the
    sum of the squared relative residuals ||W - W_t||_F^2 / ||W||_F^2 is small.

    Every rank is at least 1 and below its break-even. One more rank of a matrix takes its next
    sigma^2 / ||W||_F^2 off the sum and costs u + v weights; within a matrix these gains only fall,
    so taking the largest gain per weight first is a greedy walk along the optimum: what it has used
    when a rank first does not fit, no other choice uses better. What is left after that goes to the
    best ranks that still fit. So the sum is the least possible if all u + v are equal or the budget
    is spent to the last weight, and else within the gain of that one rank of the least.
    """
    ranks = [1] * len(matrices)
    largest = [break_even(*m.shape)[1] for m in matrices]
    costs = [sum(m.shape) for m in matrices]
    left = budget - sum(costs)
    steps = [
        (m.kept[t] - m.kept[t - 1], k)
        for k, m in enumerate(matrices)
        for t in range(2, largest[k] + 1)
    ]
    for _, k in sorted(steps, key=lambda step: -step[0] / costs[step[1]]):
        if costs[k] <= left:
            left -= costs[k]
            ranks[k] += 1
    return ranks
