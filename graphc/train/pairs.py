"""Pairs of samples of a labelled set, for networks that compare: as many alike as different."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_whole, generator_of
from graphc.base.errors import GraphcError
from graphc.train.dataset import Dataset

Array = np.ndarray[Any, Any]


def pairs(x: Any, labels: Any, count: int, seed: int | tuple[int, ...] = 0) -> Dataset:
    """`count` pairs: inputs (x[i], x[j]), target i32[count] 1 for equal labels, 0 for different.

    Half of them have equal labels (the smaller half of an odd count), in random order; i is drawn
    evenly from what has a partner, j evenly from its partners, never i itself. Equal seeds give
    equal pairs. Raises GraphcError if x and labels differ in length, `count` is not above 0, and if
    no class has two samples or there is only one.
    """
    check_whole("pairs: count", count)
    samples, classes = as_numbers("pairs: x", x), as_numbers("pairs: labels", labels)
    if classes.ndim != 1 or samples.shape[:1] != classes.shape:
        raise GraphcError(
            f"{count} pairs of {list(samples.shape)} samples with labels {list(classes.shape)}",
            remedy="give one label for each sample",
        )
    order = np.argsort(classes, kind="stable")
    _, first, sizes = np.unique(classes[order], return_index=True, return_counts=True)
    if len(sizes) < 2 or sizes.max() < 2:
        raise GraphcError(
            f"pairs of {len(sizes)} classes, the largest of {sizes.max(initial=0)} samples",
            remedy="give two classes at least, one of them with two samples",
        )
    generator = generator_of("pairs: seed", seed)
    begin, size = np.repeat(first, sizes), np.repeat(sizes, sizes)  # of the class at each place
    alike = count // 2
    one = generator.choice(np.flatnonzero(size > 1), alike)
    other = begin[one] + (one - begin[one] + generator.integers(1, size[one])) % size[one]
    apart = generator.integers(0, len(order), count - alike)
    # The others are every place but those of the class: count past its begin where needed.
    place = generator.integers(0, len(order) - size[apart])
    stranger = np.where(place < begin[apart], place, place + size[apart])
    mixed = generator.permutation(count)
    i = order[np.concatenate([one, apart])][mixed]
    j = order[np.concatenate([other, stranger])][mixed]
    same = np.repeat([1, 0], [alike, count - alike]).astype(np.int32)[mixed]
    return Dataset((samples[i], samples[j]), same)
