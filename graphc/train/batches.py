"""Arrays in batches of bounded size, so that memory does not grow with the data.

Only what a network computes sample by sample may be cut; whether it does is asked of its graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.train.graphs import samples_are_independent

Array = np.ndarray[Any, Any]
LARGEST_BATCH = 1024


def in_parts(
    arrays: Sequence[Array], nodes: Sequence[Node], forward: Graph
) -> list[Sequence[Array]]:
    """`arrays`, fed to the inputs `nodes` of the network `forward`, in batches.

    What is no batch is in every part; samples that depend on each other stay together.
    """
    if not any(a.ndim and len(a) > LARGEST_BATCH for a in arrays):
        return [arrays]
    lengths = {len(a) if a.ndim else 0 for a, i in zip(arrays, nodes, strict=True) if is_batch(i)}
    if len(lengths) != 1 or max(lengths) <= LARGEST_BATCH or not _is_separable(forward):
        return [arrays]
    return [
        [a[k : k + LARGEST_BATCH] if is_batch(i) else a for a, i in zip(arrays, nodes, strict=True)]
        for k in range(0, max(lengths), LARGEST_BATCH)
    ]


def is_batch(node: Node) -> bool:
    """Whether the first axis of a node runs over the samples."""
    return node.tensor.batch_axis == 0


@lru_cache(maxsize=16)
def _is_separable(forward: Graph) -> bool:
    return all(map(is_batch, forward.outputs)) and samples_are_independent(forward)
