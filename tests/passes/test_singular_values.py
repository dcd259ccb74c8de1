"""Ranks within a budget of weights: against every other choice of ranks there is."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from graphc.passes.singular_values import Decomposition, break_even, ranks_within

Array = np.ndarray[Any, Any]


def matrices(seed: int, shapes: list[tuple[int, int]]) -> list[Decomposition]:
    """Random matrices whose singular values fall at different speeds."""
    rng = np.random.default_rng(seed)
    found = []
    for u, v in shapes:
        left, _, right = np.linalg.svd(rng.standard_normal((u, v)), full_matrices=False)
        falling = rng.uniform(0.3, 0.95) ** np.arange(min(u, v)) * rng.uniform(0.1, 10)
        found.append(Decomposition.of(left * falling @ right))
    return found


def residual(chosen: list[Decomposition], ranks: tuple[int, ...]) -> float:
    """The sum of ||W - W_t||_F^2 / ||W||_F^2, from the matrices themselves."""
    total = 0.0
    for matrix, rank in zip(chosen, ranks, strict=True):
        whole = matrix.truncated(len(matrix.values))
        lost = whole - matrix.truncated(rank)
        total += float((lost**2).sum() / (whole**2).sum())
    return total


def weights(chosen: list[Decomposition], ranks: tuple[int, ...]) -> int:
    return sum(t * sum(m.shape) for m, t in zip(chosen, ranks, strict=True))


def best(chosen: list[Decomposition], budget: int) -> float:
    """The least residual of all choices of ranks within the budget."""
    every = product(*(range(1, break_even(*m.shape)[1] + 1) for m in chosen))
    return min(residual(chosen, r) for r in every if weights(chosen, r) <= budget)


@pytest.mark.parametrize("budget", range(90, 330, 30))
def test_of_layers_of_equal_cost_no_choice_of_ranks_is_better(budget: int) -> None:
    chosen = matrices(1, [(14, 16), (16, 14), (15, 15)])
    ranks = tuple(ranks_within(budget, chosen))
    assert weights(chosen, ranks) <= budget
    np.testing.assert_allclose(residual(chosen, ranks), best(chosen, budget), rtol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_of_other_layers_it_is_within_one_rank_of_the_best(seed: int) -> None:
    chosen = matrices(seed, [(24, 18), (12, 20), (9, 9)])
    for budget in (120, 180, 260):
        ranks = tuple(ranks_within(budget, chosen))
        assert weights(chosen, ranks) <= budget
        largest_step = max(
            m.kept[t] - m.kept[t - 1] for m in chosen for t in range(2, len(m.values) + 1)
        )
        assert residual(chosen, ranks) <= best(chosen, budget) + largest_step
        spare = budget - weights(chosen, ranks)
        for matrix, rank in zip(chosen, ranks, strict=True):
            assert sum(matrix.shape) > spare or rank == break_even(*matrix.shape)[1]


def test_a_budget_above_every_break_even_gives_the_largest_ranks_that_win() -> None:
    chosen = matrices(0, [(20, 30), (6, 6)])
    assert ranks_within(10**9, chosen) == [11, 2]
    assert [break_even(*m.shape) for m in chosen] == [(12.0, 11), (3.0, 2)]


def test_a_matrix_of_zeros_keeps_all_at_every_rank_and_takes_no_budget_from_others() -> None:
    other = matrices(3, [(10, 10)])[0]
    empty = Decomposition.of(np.zeros((10, 10)))
    assert empty.kept == [1.0] * 11
    assert ranks_within(100, [empty, other]) == [1, 4]
