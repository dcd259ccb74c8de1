"""``graphc.metrics``: how good predictions are, on plain arrays.

The names only; each is explained where it is defined. Metrics know neither graphs nor models.
"""

from graphc.train.detection.boxes import iou
from graphc.train.metrics.classification import (
    ClassScores,
    accuracy,
    confusion_matrix,
    predicted_classes,
    scores_by_class,
    top_k,
)
from graphc.train.metrics.detection import (
    DetectionScores,
    Ranking,
    average_precision,
    mean_average_precision,
    precision_recall_curve,
    rank_detections,
)
from graphc.train.metrics.saliency import auc_judd, cc, kld, nss, sim

__all__ = [
    "ClassScores",
    "DetectionScores",
    "Ranking",
    "accuracy",
    "auc_judd",
    "average_precision",
    "cc",
    "confusion_matrix",
    "iou",
    "kld",
    "mean_average_precision",
    "nss",
    "precision_recall_curve",
    "predicted_classes",
    "rank_detections",
    "scores_by_class",
    "sim",
    "top_k",
]
