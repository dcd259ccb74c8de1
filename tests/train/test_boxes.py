"""Boxes: overlap counted on pixels, targets of box regression, suppression, ridge regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc import detection

RNG = np.random.default_rng(0)


def random_boxes(count: int, side: int = 20, generator: np.random.Generator = RNG) -> np.ndarray:
    """Boxes of whole pixels (first and last), of one pixel at least."""
    corners = np.sort(generator.integers(0, side, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4)


def painted(boxes: np.ndarray, side: int = 20) -> np.ndarray:
    """bool[n,side*side]: the pixels of each box, ends included."""
    masks = np.zeros((len(boxes), side, side), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1 : y2 + 1, x1 : x2 + 1] = True
    return masks.reshape(len(boxes), -1)


def test_overlap_and_area_are_what_counting_pixels_gives() -> None:
    a, b = random_boxes(40), random_boxes(30)
    inside, outside = painted(a), painted(b)
    shared = (inside[:, None] & outside[None]).sum(axis=2)
    union = (inside[:, None] | outside[None]).sum(axis=2)
    np.testing.assert_allclose(detection.iou(a, b, pixels=True), shared / union, rtol=1e-14)
    np.testing.assert_array_equal(detection.areas(a, pixels=True), inside.sum(axis=1))
    # The same boxes in continuous coordinates end one pixel later.
    ends = np.array([0, 0, 1, 1])
    np.testing.assert_allclose(detection.iou(a + ends, b + ends), shared / union, rtol=1e-14)


def test_the_two_conventions_differ() -> None:
    a, b = [[0, 0, 10, 10]], [[5, 5, 15, 15]]
    assert detection.iou(a, b)[0, 0] == pytest.approx(25 / 175)
    assert detection.iou(a, b, pixels=True)[0, 0] == pytest.approx(36 / 206)


def test_boxes_without_area_and_no_boxes() -> None:
    point, box = [[3, 3, 3, 3]], [[0, 0, 9, 9]]
    assert detection.iou(point, point)[0, 0] == 0
    assert detection.iou(point, box)[0, 0] == 0
    assert detection.areas([[5, 5, 2, 9]])[0] == 0
    assert detection.iou([], box).shape == (0, 1) and detection.iou(box, []).shape == (1, 0)
    assert detection.areas([]).shape == (0,)


def test_targets_of_the_paper() -> None:
    """A box of 10 x 20 around (15, 30) to one of 20 x 20 around (20, 28)."""
    box, truth = [[10, 20, 20, 40]], [[10, 18, 30, 38]]
    np.testing.assert_allclose(detection.encode(box, truth), [[0.5, -0.1, np.log(2), 0]])
    scaled = detection.encode(box, truth, deviations=(0.1, 0.1, 0.2, 0.2))
    np.testing.assert_allclose(scaled, [[5, -1, np.log(2) / 0.2, 0]])


@pytest.mark.parametrize("pixels", [False, True])
def test_decode_takes_encode_back(pixels: bool) -> None:
    boxes, truths = (random_boxes(50) + [0, 0, 1, 1] for _ in range(2))
    options = {"pixels": pixels, "deviations": (0.1, 0.2, 0.3, 0.4)}
    targets = detection.encode(boxes, truths, **options)
    np.testing.assert_allclose(detection.decode(boxes, targets, **options), truths, atol=1e-12)
    np.testing.assert_array_equal(detection.decode(boxes, 0 * targets, pixels=pixels), boxes)
    by_class = np.stack([0 * targets, targets], axis=1)
    found = detection.decode(boxes, by_class, **options)
    np.testing.assert_allclose(found, np.stack([boxes, truths], axis=1), atol=1e-12)


def test_clipping_and_boxes_beyond_all_bounds() -> None:
    boxes = [[-3, 2, 50, 9], [5, 5, 8, 99]]
    assert detection.clip(boxes, 20, 30).tolist() == [[0, 2, 30, 9], [5, 5, 8, 20]]
    assert detection.clip(boxes, 20, 30, pixels=True).tolist() == [[0, 2, 29, 9], [5, 5, 8, 19]]
    huge = detection.decode([[2, 2, 4, 4]], [[0, 0, 1e4, 1e4]])
    assert detection.clip(huge, 20, 30).tolist() == [[0, 0, 30, 20]]


def test_suppression_keeps_exactly_what_no_better_kept_box_overlaps() -> None:
    """That sentence has one solution: it is checked, box by box."""
    boxes, scores, labels = random_boxes(80), RNG.integers(0, 30, 80), RNG.integers(0, 3, 80)
    rank = np.empty(80, int)
    rank[np.argsort(-scores, kind="stable")] = np.arange(80)
    for threshold, classes in ((0.3, labels), (0.1, None), (1.0, None)):
        kept = detection.non_maximum_suppression(boxes, scores, threshold, labels=classes)
        assert (np.diff(rank[kept]) > 0).all(), "best first, each once"
        overlaps = detection.iou(boxes, boxes) > threshold
        if classes is not None:
            overlaps &= classes[:, None] == classes
        better = rank[kept][None] < rank[:, None]
        suppressed = (overlaps[:, kept] & better).any(axis=1)
        np.testing.assert_array_equal(suppressed, ~np.isin(np.arange(80), kept))
    assert len(detection.non_maximum_suppression([], [])) == 0


def test_detections_of_a_head() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]]
    probabilities = [[0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.93, 0.01, 0.06]]
    found = detection.detect(boxes, probabilities)
    assert found.labels.tolist() == [1, 2, 2], "the second box is suppressed in both classes"
    assert found.scores.tolist() == [0.8, 0.1, 0.06]
    assert found.boxes.tolist() == [boxes[0], boxes[0], boxes[2]]
    assert len(detection.detect(boxes, probabilities, most=1)) == 1
    assert len(detection.detect(boxes, probabilities, least=0.9)) == 0
    by_class = np.zeros((3, 3, 4)) + np.arange(3)[:, None] * [0, 0, 1, 1]
    assert detection.detect(by_class, probabilities).boxes[:, 2].tolist() == [1, 2]


@pytest.fixture(scope="module")
def ridges() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "fixtures" / "sklearn.npz") as stored:
        return {name.split("/")[1]: stored[name] for name in stored if "ridge/" in name}


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_ridge_is_scikit_learns_and_least_squares_with_rows_added(ridges, shape: str) -> None:
    x, t = ridges[f"{shape}_x"], ridges[f"{shape}_t"]
    for penalty, wanted in zip(ridges["penalties"], ridges[f"{shape}_weights"], strict=True):
        found = detection.ridge(x, t, float(penalty))
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
        rows = np.vstack([x, np.sqrt(penalty) * np.eye(x.shape[1])])
        zeros = np.zeros((x.shape[1], t.shape[1]))
        solved = np.linalg.lstsq(rows, np.vstack([t, zeros]), rcond=None)[0]
        np.testing.assert_allclose(found, solved, rtol=1e-9, atol=1e-12)


def test_box_regression_learns_a_shift_of_each_class() -> None:
    """Truths that lie 2 to the right (class 1) or are twice as tall (class 2), whatever is seen."""
    boxes = random_boxes(60) + [0, 0, 4, 4]
    labels = np.arange(60) % 2 + 1
    centre, half = (boxes[:, 1] + boxes[:, 3]) / 2, boxes[:, 3] - boxes[:, 1]
    taller = np.stack([boxes[:, 0], centre - half, boxes[:, 2], centre + half], axis=1)
    width = (boxes[:, 2] - boxes[:, 0])[:, None]
    truths = np.where(labels[:, None] == 1, boxes + width * [0.25, 0, 0.25, 0], taller)
    features = RNG.normal(size=(60, 3))
    regression = detection.BoxRegression(penalty=1e-9).fit(features, boxes, truths, labels)
    np.testing.assert_allclose(regression.predict(features, boxes, labels), truths, atol=1e-6)
    heavy = detection.BoxRegression(penalty=1e12).fit(features, boxes, truths, labels)
    np.testing.assert_allclose(heavy.predict(features, boxes, labels), boxes, atol=1e-6)


BOX = [[0, 0, 4, 4]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: detection.iou([[0, 0, 1]], BOX),
        lambda: detection.encode(BOX, BOX * 2),
        lambda: detection.encode([[1, 1, 1, 4]], BOX),
        lambda: detection.decode(BOX, np.zeros((2, 4))),
        lambda: detection.non_maximum_suppression(BOX, [0.1, 0.2]),
        lambda: detection.non_maximum_suppression(BOX, [np.nan]),
        lambda: detection.non_maximum_suppression(BOX, [0.5], 1.5),
        lambda: detection.detect(BOX, [[0.5, 0.5], [0.1, 0.9]]),
        lambda: detection.detect(np.zeros((1, 3, 4)), [[0.5, 0.5]]),
        lambda: detection.ridge([[1.0]], [[1.0]], 0.0),
        lambda: detection.ridge([[1.0]], [[1.0], [2.0]], 1.0),
        lambda: detection.ridge([[np.nan]], [[1.0]], 1.0),
        lambda: detection.BoxRegression().fit([[1.0]], BOX, BOX, [1, 2]),
        lambda: detection.BoxRegression().fit([[1.0]], BOX, BOX, [1]).predict([[1.0]], BOX, [2]),
    ],
)
def test_what_does_not_fit(call) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert caught.value.remedy
