"""``graphc.detection``: boxes, region proposals, and what Fast R-CNN trains and predicts with.

The names only; each is explained where it is defined. Boxes are (x1, y1, x2, y2); labels count from
1, and 0 is the background. Everything here works on plain arrays and knows no network.
"""

from graphc.train.detection.boxes import areas, clip, decode, encode, iou
from graphc.train.detection.heads import detect_images, rois_of
from graphc.train.detection.objects import Detections, Objects
from graphc.train.detection.proposals import jittered, sliding_windows
from graphc.train.detection.regression import BoxRegression, ridge
from graphc.train.detection.sampling import Regions, RegionSampler
from graphc.train.detection.suppression import detect, non_maximum_suppression

__all__ = [
    "BoxRegression",
    "Detections",
    "Objects",
    "RegionSampler",
    "Regions",
    "areas",
    "clip",
    "decode",
    "detect",
    "detect_images",
    "encode",
    "iou",
    "jittered",
    "non_maximum_suppression",
    "ridge",
    "rois_of",
    "sliding_windows",
]
