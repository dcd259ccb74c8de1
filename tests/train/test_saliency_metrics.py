"""Saliency metrics: values that follow from their definitions on paper."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.train.metrics import auc_judd, cc, kld, nss, sim

RNG = np.random.default_rng(0)
MAP = RNG.random((6, 8)) + 0.1
OTHER = RNG.random((6, 8)) + 0.1
LEFT, RIGHT = np.zeros((6, 8)), np.zeros((6, 8))
LEFT[:, :4], RIGHT[:, 4:] = 1, 1
EPSILON = np.finfo(float).eps


def test_kld_of_a_map_with_itself_is_0_at_any_scale() -> None:
    assert kld(MAP, MAP) == pytest.approx(0, abs=1e-12)
    assert kld(7 * MAP, MAP) == pytest.approx(0, abs=1e-12)


def test_kld_of_half_against_uniform_is_log_2_and_of_disjoint_maps_is_the_epsilons() -> None:
    assert kld(np.ones((6, 8)), LEFT) == pytest.approx(np.log(2), abs=1e-12)
    assert kld(LEFT, RIGHT) == pytest.approx(np.log(EPSILON + 1 / 24 / EPSILON), rel=1e-12)
    assert kld(MAP, OTHER) != pytest.approx(kld(OTHER, MAP), rel=1e-3)


def test_kld_of_two_gaussians_is_their_closed_form() -> None:
    """(m^2 / s^2 + 1 / s^2 - 1 + log s^2) / 2 for N(0, 1) against N(m, s^2), on a fine grid."""
    grid = np.linspace(-12, 12, 2001)[None]
    m, s = 0.7, 1.5
    truth, prediction = np.exp(-(grid**2) / 2), np.exp(-(((grid - m) / s) ** 2) / 2)
    assert kld(prediction, truth) == pytest.approx(
        ((m**2 + 1) / s**2 - 1 + 2 * np.log(s)) / 2, abs=1e-9
    )


def test_cc_is_numpys_correlation_and_its_extremes_are_linear_maps() -> None:
    assert cc(MAP, OTHER) == pytest.approx(np.corrcoef(MAP.ravel(), OTHER.ravel())[0, 1], rel=1e-12)
    assert cc(3 * MAP + 2, MAP) == pytest.approx(1)
    assert cc(5 - 2 * MAP, MAP) == pytest.approx(-1)


def test_sim_is_1_for_equal_0_for_disjoint_and_the_shared_part_otherwise() -> None:
    assert sim(MAP, 4 * MAP) == pytest.approx(1)
    assert sim(LEFT, RIGHT) == 0
    assert sim(np.ones((6, 8)), LEFT) == pytest.approx(0.5)


def test_nss_is_how_many_deviations_fixated_pixels_lie_above_the_mean() -> None:
    peak = np.zeros((10, 10))
    peak[3, 4] = 1.0
    assert nss(peak, peak) == pytest.approx(np.sqrt(99))  # (1 - 0.01) / sqrt(0.01 * 0.99)
    assert nss(2 - 3 * peak, peak) == pytest.approx(-np.sqrt(99))
    assert nss(MAP, np.ones((6, 8))) == pytest.approx(0, abs=1e-12)
    twice = peak.copy()
    twice[0, 0] = 3
    assert nss(peak, twice) == pytest.approx((np.sqrt(99) - 3 * np.sqrt(1 / 99)) / 4)


@pytest.mark.parametrize("rank", [1, 5, 48])
def test_auc_judd_of_one_fixation_is_1_minus_half_its_false_positives(rank: int) -> None:
    ranks = RNG.permutation(48).reshape(6, 8)
    assert auc_judd(-ranks, ranks == rank - 1) == pytest.approx(1 - (rank - 1) / 47 / 2)


def test_auc_judd_of_perfect_reversed_and_constant_maps() -> None:
    assert auc_judd(LEFT, LEFT) == 1.0
    assert auc_judd(RIGHT, LEFT) == 0.5  # its one threshold lies below everything
    assert auc_judd(np.ones((6, 8)), LEFT) == 0.5
    assert auc_judd(np.exp(MAP), OTHER > 0.8) == auc_judd(MAP, OTHER > 0.8)


@pytest.mark.parametrize("metric", [kld, sim, cc, nss, auc_judd])
def test_batches_are_averaged(metric) -> None:
    fixations = (OTHER > 0.7) + 0.0
    pairs = [(MAP, fixations), (OTHER, fixations[::-1])]
    alone = np.mean([metric(p, q) for p, q in pairs])
    maps, truths = (np.stack(group)[:, None] for group in zip(*pairs, strict=True))
    assert maps.shape == (2, 1, 6, 8)
    assert metric(maps, truths) == pytest.approx(alone)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kld(MAP, OTHER[:3]), "maps of shape"),
        (lambda: kld(MAP - 1, OTHER), "a prediction with the smallest value"),
        (lambda: sim(MAP, 0 * MAP), "a density with"),
        (lambda: cc(MAP, 0 * MAP + 0.1), "map 0 is constant, 0.1"),
        (lambda: nss(0 * MAP, LEFT), "is constant"),
        (lambda: nss(MAP, 0 * MAP), "image 0 has no fixations"),
        (lambda: auc_judd(MAP, LEFT + RIGHT), "every pixel is fixated"),
        (lambda: auc_judd(MAP * np.nan, LEFT), "not finite"),
        (lambda: cc(MAP.ravel(), MAP.ravel()), "maps of shape"),
    ],
)
def test_what_does_not_fit(call, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert message in caught.value.what
    assert caught.value.remedy
