"""Pooling over windows, bins and regions of an image, and its gradients as ops of their own.

`windows` says which input element is which tap of which window; the other modules say what is done
with the taps.
"""

from graphc.ops.pooling.adaptive import adaptive_avg_pool2d
from graphc.ops.pooling.average import avg_pool2d, sum_pool2d, sum_unpool2d
from graphc.ops.pooling.euclidean import l2_pool2d
from graphc.ops.pooling.maximum import max_pool2d, max_unpool2d
from graphc.ops.pooling.regions import roi_max_pool
from graphc.ops.pooling.windows import pooled_extents

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "l2_pool2d",
    "max_pool2d",
    "max_unpool2d",
    "pooled_extents",
    "roi_max_pool",
    "sum_pool2d",
    "sum_unpool2d",
]
