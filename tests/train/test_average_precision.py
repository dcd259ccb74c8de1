"""Average precision of detections, against a published table, scikit-learn's curve, and by hand.

The table: Padilla et al., "A survey on performance metrics for object-detection algorithms", 2020,
and its program's worked example: 24 detections of 15 objects in 7 images, right at an IoU of 0.3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.train.detection import Detections, Objects
from graphc.train.metrics import (
    average_precision,
    mean_average_precision,
    precision_recall_curve,
    rank_detections,
)

# Of each image, objects (x, y, width, height) and detections (percent, x, y, width, height).
OBJECTS = (
    ((25, 16, 38, 56), (129, 123, 41, 62)),
    ((123, 11, 43, 55), (38, 132, 59, 45)),
    ((16, 14, 35, 48), (123, 30, 49, 44), (99, 139, 47, 47)),
    ((53, 42, 40, 52), (154, 43, 31, 34)),
    ((59, 31, 44, 51), (48, 128, 34, 52)),
    ((36, 89, 52, 76), (62, 58, 44, 67)),
    ((28, 31, 55, 63), (58, 67, 50, 58)),
)
DETECTED = (
    ((88, 5, 67, 31, 48), (70, 119, 111, 40, 67), (80, 124, 9, 49, 67)),
    ((71, 64, 111, 64, 58), (54, 26, 140, 60, 47), (74, 19, 18, 43, 35)),
    (
        (18, 109, 15, 77, 39),
        (67, 86, 63, 46, 45),
        (38, 160, 62, 36, 53),
        (91, 105, 131, 47, 47),
        (44, 18, 148, 40, 44),
    ),
    ((35, 83, 28, 28, 26), (78, 28, 68, 42, 67), (45, 87, 89, 25, 39), (14, 10, 155, 60, 26)),
    ((62, 50, 38, 28, 46), (44, 95, 11, 53, 28), (95, 29, 131, 72, 29), (23, 29, 163, 72, 29)),
    ((45, 43, 48, 74, 38), (84, 17, 155, 29, 35), (43, 95, 110, 25, 42)),
    ((48, 16, 20, 101, 88), (95, 33, 116, 37, 49)),
)
TABLE_RIGHT = "1010 0000 0101 1100 0000 0010".replace(" ", "")
TABLE_PRECISION = (
    1, 0.5, 0.6666, 0.5, 0.4, 0.3333, 0.2857, 0.25, 0.2222, 0.3, 0.2727, 0.3333, 0.3846, 0.4285,
    0.4, 0.375, 0.3529, 0.3333, 0.3157, 0.3, 0.2857, 0.2727, 0.3043, 0.2916,
)  # fmt: skip


def corners(rows) -> np.ndarray:
    array = np.array(rows, float)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


TRUTHS = [Objects(corners(rows), [1] * len(rows)) for rows in OBJECTS]
FOUND = [
    Detections(corners([r[1:] for r in rows]), [1] * len(rows), [r[0] / 100 for r in rows])
    for rows in DETECTED
]


def test_the_published_table() -> None:
    ranking = rank_detections(FOUND, TRUTHS, 1, iou_threshold=0.3, pixels=True)
    assert ranking.objects == 15
    assert "".join(map(str, ranking.right.astype(int))) == TABLE_RIGHT
    precision, recall = precision_recall_curve(ranking.scores, ranking.right, objects=15)
    # The table cuts digits and prints 0.7 for 6 / 15 once: a misprint, corrected here.
    np.testing.assert_allclose(precision, TABLE_PRECISION, atol=1e-4)
    np.testing.assert_allclose(recall[[0, 2, 9, -1]], [0.0666, 0.1333, 0.2, 0.4666], atol=1e-4)


@pytest.mark.parametrize(("method", "percent"), [("eleven_points", 26.84), ("all_points", 24.56)])
def test_the_published_average_precisions(method: str, percent: float) -> None:
    scores = mean_average_precision(FOUND, TRUTHS, iou_threshold=0.3, method=method, pixels=True)
    assert 100 * scores.mean == pytest.approx(percent, abs=0.01)
    assert scores.by_class == {1: scores.mean}


def test_the_curve_is_scikit_learns() -> None:
    """Theirs runs from the last detection to none; all scores differ."""
    with np.load(Path(__file__).parents[1] / "fixtures" / "sklearn.npz") as stored:
        scores, right = stored["ranking/scores"], stored["ranking/right"]
        wanted = stored["ranking/precision"][-2::-1], stored["ranking/recall"][-2::-1]
    precision, recall = precision_recall_curve(scores, right)
    np.testing.assert_allclose(precision, wanted[0], rtol=1e-14)
    np.testing.assert_allclose(recall, wanted[1], rtol=1e-14)
    # The area under the largest precision at each recall or above, from their curve.
    levels = np.unique(wanted[1])[1:]
    heights = [wanted[0][wanted[1] >= level].max() for level in levels]
    area = (np.diff(levels, prepend=0) * heights).sum()
    assert average_precision(scores, right) == pytest.approx(area, rel=1e-13)


@pytest.mark.parametrize("objects", [10, 30, 70])
def test_eleven_points_count_a_recall_that_is_reached_exactly(objects: int) -> None:
    """3 of 10 is a recall of 0.3, which 3 * 0.1 in floating point is not."""
    for tenths in range(11):
        hits = tenths * objects // 10
        found = average_precision(
            np.arange(hits), np.ones(hits), objects=objects, method="eleven_points"
        )
        assert found == pytest.approx((tenths + 1) / 11 if hits else 0)


BOX, OTHER, FAR = [0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]


@pytest.mark.parametrize(
    ("name", "boxes", "scores", "truth", "right"),
    [
        ("duplicates are false", [BOX, OTHER], [0.9, 0.8], Objects([BOX], [1]), [True, False]),
        ("the better score wins", [BOX, OTHER], [0.8, 0.9], Objects([BOX], [1]), [True, False]),
        ("ties keep their order", [BOX, FAR], [0.5, 0.5], Objects([FAR], [1]), [False, True]),
        ("difficult: neither way", [BOX, FAR], [0.9, 0.8], Objects([BOX], [1], [True]), [False]),
        ("beside a difficult one", [BOX, FAR], [0.9, 0.8],
         Objects([BOX, FAR], [1, 1], [False, True]), [True]),
        ("another class", [BOX], [0.9], Objects([BOX], [2]), [False]),
        ("an empty image", [BOX], [0.9], Objects([], []), [False]),
        ("nothing found", [], [], Objects([BOX], [1]), []),
        ("the most overlapped object only", [BOX, BOX], [0.9, 0.8],
         Objects([BOX, OTHER], [1, 1]), [True, False]),
    ],
)  # fmt: skip
def test_what_counts(name: str, boxes, scores, truth, right) -> None:
    found = rank_detections([Detections(boxes, [1] * len(boxes), scores)], [truth], 1)
    assert found.right.tolist() == right, name
    assert found.objects == ((truth.labels == 1) & ~truth.difficult).sum()


def test_an_overlap_equal_to_the_threshold_is_enough() -> None:
    half = Detections([[0, 0, 10, 5]], [1], [1.0])
    assert rank_detections([half], [Objects([BOX], [1])], 1, iou_threshold=0.5).right.all()
    assert not rank_detections([half], [Objects([BOX], [1])], 1, iou_threshold=0.51).right.any()


def test_the_mean_is_over_classes_that_have_objects() -> None:
    truths = [Objects([BOX, FAR], [1, 3]), Objects([BOX], [2], [True])]
    found = [Detections([BOX, BOX], [1, 4], [0.9, 0.99]), Detections([], [], [])]
    scores = mean_average_precision(found, truths)
    assert scores.by_class == {1: 1.0, 3: 0.0}
    assert scores.mean == 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_average_precision([], []),
        lambda: mean_average_precision(FOUND[:2], TRUTHS),
        lambda: mean_average_precision(FOUND, TRUTHS, method="coco"),
        lambda: mean_average_precision(FOUND, TRUTHS, iou_threshold=0.0),
        lambda: average_precision([0.1], [False]),
        lambda: average_precision([0.1, 0.2], [True, True], objects=1),
        lambda: average_precision([0.1, np.nan], [True, True]),
        lambda: average_precision([0.1], [True, True]),
        lambda: Objects([BOX], [0]),
        lambda: Objects([BOX], [1, 2]),
        lambda: Objects(BOX, [1]),
        lambda: Detections([BOX], [1], [np.nan]),
        lambda: Detections([BOX], [1], [0.5, 0.5]),
        lambda: Detections([BOX], [1.5], [0.5]),
    ],
)
def test_what_does_not_fit(call) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert caught.value.remedy
