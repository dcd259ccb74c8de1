"""From what Fast R-CNN's heads say of the regions of several images to detections in each."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import detection

REGIONS = [[[0, 0, 10, 10], [20, 20, 30, 40]], [], [[5, 5, 25, 15]]]
TRUTHS = np.array([[2, 1, 12, 9], [18, 24, 30, 38], [6, 4, 22, 16]], float)
PROBABILITIES = np.array([[0.1, 0.7, 0.2], [0.3, 0.1, 0.6], [0.97, 0.01, 0.02]])
DEVIATIONS = (0.1, 0.1, 0.2, 0.2)


def outputs(background: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(regions, logits, targets) of a network that is sure where class 2 is, and 1 not to move."""
    rois = detection.rois_of(REGIONS)
    targets = np.zeros((3, 3, 4))
    targets[:, 2] = detection.encode(rois[:, 1:], TRUTHS, deviations=DEVIATIONS)
    logits = np.log(PROBABILITIES) + [[5.0], [-3.0], [0.0]]  # a softmax takes constants off
    return rois, logits, targets[:, 0 if background else 1 :].reshape(3, -1)


def test_regions_say_which_image_they_are_of() -> None:
    rois = detection.rois_of(REGIONS)
    assert rois.dtype == np.float32
    assert rois.tolist() == [[0, 0, 0, 10, 10], [0, 20, 20, 30, 40], [2, 5, 5, 25, 15]]
    assert detection.rois_of([[], []]).shape == (0, 5)


@pytest.mark.parametrize("background", [True, False], ids=["K+1 boxes", "K boxes"])
def test_each_image_gets_its_own_boxes_moved_by_class(background: bool) -> None:
    first, empty, last = detection.detect_images(
        *outputs(background), images=3, height=32, width=64, deviations=DEVIATIONS, least=0.05
    )
    assert len(empty) == len(last) == 0
    assert first.labels.tolist() == [1, 2, 2, 1]
    np.testing.assert_allclose(first.scores, [0.7, 0.6, 0.2, 0.1], rtol=1e-12)
    wanted = [[0, 0, 10, 10], [18, 24, 30, 32], [2, 1, 12, 9], [20, 20, 30, 32]]
    np.testing.assert_allclose(first.boxes, wanted, atol=1e-5)


def test_no_region_is_no_detection() -> None:
    none = np.zeros((0, 5)), np.zeros((0, 3)), np.zeros((0, 12))
    found = detection.detect_images(*none, images=2, height=8, width=8)
    assert [len(d) for d in found] == [0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, s, t: (r[:, 1:], s, t), r"regions \[3, 4\] with logits \[3, 3\]"),
        (lambda r, s, t: (r, s[:2], t), r"logits \[2, 3\]"),
        (lambda r, s, t: (r, s, t[:, :4]), r"targets \[3, 4\]"),
        (lambda r, s, t: (r + 1, s, t), r"images \[1.0, 3.0\], and there are 3"),
    ],
)
def test_what_does_not_fit(change, message: str) -> None:
    with pytest.raises(gc.GraphcError, match=message):
        detection.detect_images(*change(*outputs(True)), images=3, height=32, width=64)
