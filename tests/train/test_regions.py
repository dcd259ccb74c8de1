"""Region proposals and Fast R-CNN's mini-batches."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import detection
from graphc.train.detection import Objects, RegionSampler

TRUTHS = [
    Objects([[10, 10, 30, 30], [40, 8, 60, 40]], [1, 3]),
    Objects([[5, 30, 25, 50]], [2]),
    Objects([[20, 20, 44, 44]], [1]),
]
WINDOWS = detection.sliding_windows(64, 64, [12, 20, 28], step=0.2)


def proposals(seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        np.concatenate([WINDOWS, detection.jittered(t.boxes, 60, 64, 64, generator)])
        for t in TRUTHS
    ]


def test_batches_have_the_papers_shares_and_overlaps() -> None:
    found = RegionSampler().sample(proposals(), TRUTHS, [0, 2], np.random.default_rng(1))
    assert found.rois.shape == (128, 5) and found.rois.dtype == np.float32
    assert found.labels.dtype == np.int32 and found.targets.dtype == np.float32
    assert found.images.tolist() == [0, 2]
    for position, image in enumerate((0, 2)):
        own = found.rois[:, 0] == position
        boxes, labels, truth = found.rois[own, 1:], found.labels[own], TRUTHS[image]
        assert len(boxes) == 64 and (labels > 0).sum() == 16
        overlaps = detection.iou(boxes, truth.boxes)
        largest = overlaps.max(axis=1)
        is_object = labels > 0
        assert (largest[is_object] >= 0.5).all()
        assert (largest[~is_object] >= 0.1).all() and (largest[~is_object] < 0.5).all()
        best = overlaps.argmax(axis=1)
        assert (labels[is_object] == truth.labels[best[is_object]]).all()
        reached = detection.decode(boxes[is_object], found.targets[own][is_object])
        np.testing.assert_allclose(reached, truth.boxes[best[is_object]], atol=1e-4)
        assert (found.targets[own][~is_object] == 0).all()
        assert len(np.unique(boxes, axis=0)) == 64, "no region twice"


def test_equal_generators_draw_equal_batches_and_an_epoch_shows_each_image_once() -> None:
    def drawn(seed: int) -> list[detection.Regions]:
        generator = np.random.default_rng(seed)
        return list(RegionSampler().epoch(proposals(), TRUTHS, generator))

    first, again, other = drawn(5), drawn(5), drawn(6)
    assert all((a.rois == b.rois).all() for a, b in zip(first, again, strict=True))
    assert any(
        a.rois.shape != b.rois.shape or (a.rois != b.rois).any()
        for a, b in zip(first, other, strict=True)
    )
    assert [len(b.images) for b in first] == [2, 1]
    assert sorted(np.concatenate([b.images for b in first])) == [0, 1, 2]


def test_images_with_too_few_objects_or_background() -> None:
    generator = np.random.default_rng(0)
    far = [np.array([[0.0, 0, 6, 6]])] * 3
    alone = RegionSampler().sample(far, TRUTHS, [0], generator)
    assert alone.labels.tolist() in ([1, 3], [3, 1]), "the objects' own boxes, and nothing else"
    assert (alone.targets == 0).all()
    strict = RegionSampler(foreground=0.0).sample(proposals(), TRUTHS, [1], generator)
    assert len(strict.labels) == 64 and not strict.labels.any()
    empty = [Objects([], [])]
    background = RegionSampler(background_iou=(0.0, 0.5)).sample(
        [WINDOWS], empty, [0], np.random.default_rng(0)
    )
    assert len(background.labels) == 64 and not background.labels.any()
    with pytest.raises(gc.GraphcError, match=r"images \[0\] have no region"):
        RegionSampler().sample([WINDOWS], empty, [0], generator)


def test_sliding_windows_cover_the_image() -> None:
    windows = detection.sliding_windows(40, 60, [16.0], step=0.25, ratios=(1.0, 4.0))
    square, tall = (windows[np.isclose(windows[:, 3] - windows[:, 1], h)] for h in (16, 32))
    assert len(square) + len(tall) == len(windows)
    np.testing.assert_allclose(detection.areas(windows), 256)
    np.testing.assert_allclose(tall[:, 2] - tall[:, 0], 8)
    for group, extents in ((square, (16, 16)), (tall, (8, 32))):
        for axis, limit in ((0, 60), (1, 40)):
            starts = np.unique(group[:, axis])
            assert starts[0] == 0 and group[:, axis + 2].max() == pytest.approx(limit)
            assert np.diff(starts).max() <= 0.25 * extents[axis] + 1e-9
    assert detection.sliding_windows(16, 16, [16.0, 99.0]).tolist() == [[0, 0, 16, 16]]


def test_jittered_boxes_stay_inside_and_near() -> None:
    generator = np.random.default_rng(0)
    boxes = TRUTHS[0].boxes
    same = detection.jittered(boxes, 3, 64, 64, generator, spread=0.0)
    np.testing.assert_allclose(same, boxes.repeat(3, axis=0))
    near = detection.jittered(boxes, 500, 64, 64, generator, spread=0.1)
    assert near.min() >= 0 and near.max() <= 64
    overlaps = detection.iou(near, boxes).max(axis=1)
    assert 0.6 < overlaps.mean() < 0.9
    moved = (near[:500, 0] + near[:500, 2]) / 2 - 20
    assert moved.std() == pytest.approx(2.0, rel=0.15), "a tenth of the width"


@pytest.mark.parametrize(
    "call",
    [
        lambda: RegionSampler(regions=0),
        lambda: RegionSampler(foreground=1.5),
        lambda: RegionSampler(background_iou=(0.5, 0.1)),
        lambda: RegionSampler(background_iou=(0.1, 0.7)),
        lambda: next(RegionSampler().epoch([], TRUTHS, np.random.default_rng(0))),
        lambda: detection.sliding_windows(8, 8, [9.0]),
        lambda: detection.sliding_windows(8, 8, [4.0], step=0.0),
        lambda: detection.jittered([[0, 0, 1, 1]], -1, 8, 8, np.random.default_rng(0)),
    ],
)
def test_what_does_not_fit(call) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert caught.value.remedy
