"""Metrics of saliency maps, as defined by Bylinskii et al.

"What do different evaluation metrics tell us about saliency models?", 2018. Maps are
[...,height,width]; each metric is the mean over the leading axes. kld, cc and sim compare with a
density of fixations, nss and auc_judd with the fixations themselves: how many fell on each pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
EPSILON = float(np.finfo(np.float64).eps)


def kld(prediction: Any, density: Any) -> float:
    """Kullback-Leibler divergence: sum of Q log(e + Q / (e + P)), e = 2.2e-16; 0 is perfect.

    prediction P and density Q: at least 0 everywhere, scaled here to a sum of 1. As in the paper, e
    keeps the value finite where P is 0: the largest is about 36. Raises GraphcError for maps that
    differ in shape, are negative or sum to 0.
    """
    p, q = _densities("kld", prediction, density)
    return float((q * np.log(EPSILON + q / (EPSILON + p))).sum(axis=1).mean())


def sim(prediction: Any, density: Any) -> float:
    """Similarity, or histogram intersection: sum of min(P, Q), in 0..1; 1 is perfect.

    Both maps are at least 0 everywhere and scaled here to a sum of 1 (their minimum is not taken
    off before, as the authors' program does). Raises GraphcError as `kld` does.
    """
    p, q = _densities("sim", prediction, density)
    return float(np.minimum(p, q).sum(axis=1).mean())


def cc(prediction: Any, density: Any) -> float:
    """Pearson's linear correlation coefficient of the two maps, in -1..1; 1 is perfect.

    Raises GraphcError for maps that differ in shape or are constant, where it is not defined.
    """
    p, q = _maps("cc", prediction, density)
    return float((_standard("cc", p) * _standard("cc", q)).mean(axis=1).mean())


def nss(prediction: Any, fixations: Any) -> float:
    """Normalised scanpath saliency: the mean of (P - mean) / deviation at the fixations; 0: chance.

    The deviation is that of all pixels (divided by their number). A pixel with two fixations counts
    twice. Raises GraphcError for maps that differ in shape, a constant prediction, and an image
    without fixations.
    """
    p, f = _maps("nss", prediction, fixations)
    f = _checked_fixations("nss", f)
    return float(((_standard("nss", p) * f).sum(axis=1) / f.sum(axis=1)).mean())


def auc_judd(prediction: Any, fixations: Any) -> float:
    """Area under the ROC curve whose thresholds are the values of P at the fixated pixels.

    At a threshold, the true positives are the fixated pixels at or above it, the false positives
    the others; straight lines join the points, (0, 0) and (1, 1). Ties are not broken by noise, as
    the authors' program does: a constant map has 0.5. Raises GraphcError as `nss` does, except that
    a map may be constant, and if every pixel is fixated.
    """
    p, f = _maps("auc_judd", prediction, fixations)
    fixated = _checked_fixations("auc_judd", f) > 0
    if fixated.all(axis=1).any():
        raise GraphcError("auc_judd: every pixel is fixated", remedy="give fixations, no density")
    return float(np.mean([_area(*pair) for pair in zip(p, fixated, strict=True)]))


def _area(p: Array, fixated: Array) -> float:
    thresholds = np.unique(p[fixated])[::-1]
    hits = _at_or_above(p[fixated], thresholds) / fixated.sum()
    false = _at_or_above(p[~fixated], thresholds) / (~fixated).sum()
    x, y = np.concatenate([[0], false, [1]]), np.concatenate([[0], hits, [1]])
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _at_or_above(values: Array, thresholds: Array) -> Array:
    """How many of `values` are at least each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds, side="left")


def _maps(metric: str, prediction: Any, other: Any) -> tuple[Array, Array]:
    """Both maps as f64[images,pixels]."""
    p, q = (as_numbers(f"{metric}: a map", m, np.float64) for m in (prediction, other))
    if p.shape != q.shape or p.ndim < 2 or p.size == 0:
        raise GraphcError(
            f"{metric}: maps of shape {list(p.shape)} and {list(q.shape)}",
            remedy="give two maps of one shape [...,height,width]",
        )
    for name, array in (("first", p), ("second", q)):
        wrong = array.size - int(np.isfinite(array).sum())
        if wrong:
            raise GraphcError(
                f"{metric}: {wrong} of {array.size} numbers of the {name} map are not finite",
                remedy="look for nan in the prediction",
            )
    pixels = p.shape[-2] * p.shape[-1]
    return p.reshape(-1, pixels), q.reshape(-1, pixels)


def _densities(metric: str, prediction: Any, density: Any) -> tuple[Array, Array]:
    p, q = _maps(metric, prediction, density)
    for name, array in (("prediction", p), ("density", q)):
        lowest, least = array.min(), array.sum(axis=1).min()
        if lowest < 0 or least <= 0:
            raise GraphcError(
                f"{metric}: a {name} with the smallest value {lowest:g} and the sum {least:g}",
                remedy="densities are at least 0 and not all 0: take a softmax or exp of the map",
            )
    return p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)


def _standard(metric: str, maps: Array) -> Array:
    """Each map moved and scaled to mean 0 and deviation 1."""
    constant = maps.min(axis=1) == maps.max(axis=1)
    if constant.any():
        raise GraphcError(
            f"{metric}: map {int(constant.argmax())} is constant, {maps[constant.argmax(), 0]:g}, "
            "so it has no deviation to divide by",
            remedy="leave it out, or train until the network tells pixels apart",
        )
    centred = maps - maps.mean(axis=1, keepdims=True)
    return np.asarray(centred / centred.std(axis=1, keepdims=True))


def _checked_fixations(metric: str, fixations: Array) -> Array:
    totals, least = fixations.sum(axis=1), fixations.min(axis=1)
    wrong = np.flatnonzero((least < 0) | (totals <= 0))
    if wrong.size:
        fewest = f"{least[wrong[0]]:g} on a pixel" if least[wrong[0]] < 0 else "no fixations"
        raise GraphcError(
            f"{metric}: image {wrong[0]} has {fewest}",
            remedy="give how many fixations fell on each pixel, at least one an image",
        )
    return fixations
