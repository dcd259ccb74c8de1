"""Boxes, regions and detections, and how good they are; maps of saliency."""

from __future__ import annotations

import numpy as np

from graphc import detection, metrics
from graphc.train.detection import BoxRegression, Detections, Objects, RegionSampler

BOX, FLAT = np.array([[0.0, 0.0, 4.0, 4.0]]), np.array([[0.0, 0.0, 0.0, 4.0]])
SEED, OBJECT, FOUND = np.random.default_rng(0), Objects(BOX, [1]), Detections(BOX, [1], [0.5])
MAP = np.arange(6.0).reshape(2, 3)

CASES = (
    # boxes
    lambda folder: detection.areas(np.zeros((2, 3))),
    lambda folder: detection.encode(BOX, BOX[:0]),
    lambda folder: detection.encode(BOX, FLAT),
    lambda folder: detection.decode(BOX, BOX[:0]),
    lambda folder: detection.decode(BOX, BOX, deviations=(0.1, 0.2)),
    lambda folder: Objects(BOX, [0]),
    lambda folder: Objects(BOX, [1, 2]),
    lambda folder: Detections(BOX, [1], [np.nan]),
    # proposals and samples
    lambda folder: detection.sliding_windows(8, 8, [0.0]),
    lambda folder: detection.sliding_windows(8, 8, [16.0]),
    lambda folder: detection.jittered(BOX, -1, 8, 8, SEED),
    lambda folder: RegionSampler(background_iou=(0.5, 0.1)),
    lambda folder: list(RegionSampler().epoch([BOX], [], SEED)),
    lambda folder: RegionSampler().sample([FLAT[:0]], [Objects(BOX[:0], [])], [0], SEED),
    # regression and suppression
    lambda folder: detection.ridge(MAP, MAP[0], 1.0),
    lambda folder: detection.ridge(MAP, MAP, 0.0),
    lambda folder: BoxRegression().predict(MAP[:1], BOX, [1]),
    lambda folder: BoxRegression().fit(MAP, BOX, BOX, [1]),
    lambda folder: detection.non_maximum_suppression(BOX, [0.5, 0.5]),
    lambda folder: detection.non_maximum_suppression(BOX, [0.5], threshold=2.0),
    lambda folder: detection.detect(BOX, MAP),
    lambda folder: detection.detect_images(BOX, MAP, BOX, images=1, height=8, width=8),
    lambda folder: detection.detect_images(
        np.ones((1, 5)), np.ones((1, 2)), np.ones((1, 4)), images=1, height=8, width=8
    ),
    # metrics
    lambda folder: metrics.mean_average_precision([FOUND], [Objects(BOX, [1], [True])]),
    lambda folder: metrics.rank_detections([FOUND], [], 1),
    lambda folder: metrics.rank_detections([BOX], [OBJECT], 1),
    lambda folder: metrics.rank_detections([FOUND], [OBJECT], 1, iou_threshold=0.0),
    lambda folder: metrics.average_precision([0.5], [True], method="area"),
    lambda folder: metrics.average_precision([0.5], [True, True]),
    lambda folder: metrics.average_precision([0.5], [True], objects=0),
    lambda folder: metrics.top_k(MAP[0], [0]),
    lambda folder: metrics.top_k(MAP, [0, 1], k=4),
    lambda folder: metrics.accuracy(MAP, [0]),
    lambda folder: metrics.confusion_matrix(MAP, [0, 3]),
    lambda folder: metrics.auc_judd(MAP, MAP + 1),
    lambda folder: metrics.sim(MAP, MAP[0]),
    lambda folder: metrics.sim(MAP, MAP * np.nan),
    lambda folder: metrics.kld(MAP, -MAP),
    lambda folder: metrics.cc(MAP, np.zeros((2, 3))),
    lambda folder: metrics.nss(MAP, np.zeros((2, 3))),
)
