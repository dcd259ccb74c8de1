"""Synthetic scenes and pairs of samples: what is annotated is what is there."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import data

CLEAN = data.scenes(60, 64, noise=0.0, objects=(1, 1))
FILLED = {"square": 1.0, "disc": np.pi / 4, "triangle": 0.5}  # of its box


def test_boxes_end_where_the_shapes_do_and_labels_are_their_geometry() -> None:
    seen = set()
    for image, objects in zip(CLEAN.images, CLEAN.objects, strict=True):
        rows, columns = np.nonzero(image[0])
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert objects.boxes.tolist() == [edges]
        area = (edges[2] - edges[0]) * (edges[3] - edges[1])
        label = int(objects.labels[0])
        assert len(rows) / area == pytest.approx(FILLED[CLEAN.names[label]], abs=0.1)
        values = np.unique(image[0])
        assert len(values) == 2 and 0.5 <= values[1] <= 1
        seen.add(label)
    assert seen == {1, 2, 3}


def test_numbers_sizes_classes_and_channels() -> None:
    found = data.scenes(40, 48, classes=2, objects=(2, 4), channels=3, seed=5)
    assert found.images.shape == (40, 3, 48, 48) and found.images.dtype == np.float32
    counts = {len(objects) for objects in found.objects}
    assert max(counts) == 4 and min(counts) >= 1 and len(counts) > 1
    assert {int(u) for o in found.objects for u in o.labels} == {1, 2}
    boxes = np.concatenate([o.boxes for o in found.objects])
    assert boxes.min() >= 0 and boxes.max() <= 48
    sides = boxes[:, 2] - boxes[:, 0]
    assert sides.min() >= 0.19 * 48 and sides.max() <= 0.41 * 48
    for objects in found.objects:
        overlaps = gc.detection.iou(objects.boxes, objects.boxes)
        assert (overlaps - np.eye(len(objects))).max() <= 0.05


def test_noise_has_the_deviation_that_was_asked_for() -> None:
    noisy = data.scenes(60, 64, noise=0.3, objects=(1, 1))
    difference = noisy.images - CLEAN.images
    assert difference.std() == pytest.approx(0.3, rel=0.01)
    assert abs(difference.mean()) < 0.003


def test_equal_seeds_draw_equal_scenes_and_shorter_sets_are_beginnings() -> None:
    longer, shorter, other = data.scenes(6, 32), data.scenes(3, 32), data.scenes(3, 32, seed=1)
    for field in ("images", "fixations", "density"):
        np.testing.assert_array_equal(getattr(longer, field)[:3], getattr(shorter, field))
    assert (other.images != shorter.images).any()


def test_fixations_fall_on_objects_and_the_density_is_theirs() -> None:
    inside = np.zeros(CLEAN.fixations.shape, bool)
    for mask, objects in zip(inside, CLEAN.objects, strict=True):
        x1, y1, x2, y2 = objects.boxes[0].astype(int)
        mask[y1:y2, x1:x2] = True
    assert (CLEAN.fixations.sum(axis=(1, 2)) == 20).all()
    assert (CLEAN.fixations[inside].sum() / CLEAN.fixations.sum()) > 0.99
    np.testing.assert_allclose(CLEAN.density.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert gc.metrics.nss(CLEAN.density, CLEAN.fixations) > 3
    assert gc.metrics.auc_judd(CLEAN.density, CLEAN.fixations) > 0.95
    turned = np.roll(CLEAN.density, 1, axis=0)
    assert gc.metrics.cc(CLEAN.density, turned) < 0.5


def test_pairs_are_half_alike_and_never_of_a_sample_with_itself() -> None:
    labels = np.repeat([3, 7, 7, 9], [1, 20, 10, 2])  # 3 has no partner of its class
    x = np.arange(len(labels))
    found = data.pairs(x, labels, 4001, seed=2)
    first, second = found.x
    same = labels[first] == labels[second]
    np.testing.assert_array_equal(found.y, same)
    assert found.y.dtype == np.int32 and found.y.sum() == 2000
    assert (first != second).all()
    assert not same[first == 0].any() and (first == 0).any() and (second == 0).any()
    assert 0.4 < found.y[:500].mean() < 0.6, "in random order"
    alike = np.bincount(first[same], minlength=33)[1:]
    assert alike.min() > 25 and alike.max() < 110, "evenly: 62 each"
    again = data.pairs(x, labels, 4001, seed=2)
    assert (again.x[0] == first).all() and (again.x[1] == second).all()
    assert (data.pairs(x, labels, 4001, seed=3).x[0] != first).any()


@pytest.mark.parametrize(
    "call",
    [
        lambda: data.scenes(0),
        lambda: data.scenes(1, 8),
        lambda: data.scenes(1, classes=4),
        lambda: data.scenes(1, objects=(3, 2)),
        lambda: data.scenes(1, noise=-1.0),
        lambda: data.pairs([1, 2], [0], 3),
        lambda: data.pairs([1, 2], [0, 0], 3),
        lambda: data.pairs([1, 2], [0, 1], 3),
        lambda: data.pairs([1, 2, 3], [0, 1, 1], 0),
        lambda: data.pairs([], [], 1),
    ],
)
def test_what_does_not_fit(call) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert caught.value.remedy
