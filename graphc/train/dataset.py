"""Data sets held in arrays: batches, shuffling with a seed, splitting, standardising.

Knows no file format and no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number, check_whole, generator_of
from graphc.base.errors import GraphcError
from graphc.ir.types import normalize_axes

Array = np.ndarray[Any, Any]


class Dataset:
    """Samples ``x`` and their targets ``y``: arrays, or tuples of arrays for a network of several
    inputs or a loss of several targets. All have the same first axis, the samples.

    Raises GraphcError if the lengths differ or there is no sample.
    """

    def __init__(self, x: Any, y: Any) -> None:
        self.inputs, self.targets = arrays_of(x), arrays_of(y)
        self.x: Any = self.inputs if isinstance(x, tuple) else self.inputs[0]
        self.y: Any = self.targets if isinstance(y, tuple) else self.targets[0]
        lengths = [a.shape[0] if a.ndim else None for a in (*self.inputs, *self.targets)]
        if len(set(lengths)) != 1 or not lengths[0] or not self.inputs or not self.targets:
            inputs, targets = lengths[: len(self.inputs)], lengths[len(self.inputs) :]
            raise GraphcError(
                f"a data set of {_counts(inputs)} samples and {_counts(targets)} targets",
                remedy="give arrays with the same number of samples, at least one",
            )

    @staticmethod
    def of(data: Dataset | tuple[Any, Any] | list[Any]) -> Dataset:
        """`data` itself, or the pair (x, y) as a data set. Raises GraphcError for anything else."""
        if isinstance(data, Dataset):
            return data
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise GraphcError(
                f"{type(data).__name__} is not a data set",
                remedy="give a gc.data.Dataset or a pair (x, y) of arrays or tuples of arrays",
            )
        return Dataset(*data)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __repr__(self) -> str:
        shown = ", ".join(f"{a.dtype}{list(a.shape[1:])}" for a in self.inputs)
        return f"<Dataset of {len(self)}: x {shown}>"

    def batches(
        self, batch_size: int, seed: int | tuple[int, ...] | None = None, *, first: int = 0
    ) -> Iterator[tuple[Any, Any]]:
        """(x, y) in batches; the last may be smaller.

        seed: shuffles, the same way for the same seed; None keeps the order. first: how many
        batches to leave out. Raises GraphcError for a batch size below 1.
        """
        check_whole("batch_size", batch_size)
        order = None if seed is None else np.random.default_rng(seed).permutation(len(self))
        for begin in range(first * batch_size, len(self), batch_size):
            chosen: Any = slice(begin, begin + batch_size)
            yield self.take(chosen if order is None else order[chosen])

    def split(self, first: int | float, seed: int | None = None) -> tuple[Dataset, Dataset]:
        """Two data sets, the first of `first` samples (or that share of them, below 1).

        seed: shuffles before; None keeps the order. Raises GraphcError if a part would be empty.
        """
        check_number("split: first", first, 0)
        count = round(first * len(self)) if isinstance(first, float) else first
        if not 0 < count < len(self):
            raise GraphcError(
                f"{first} of {len(self)} samples leaves one part empty",
                remedy="give a share between 0 and 1, or a smaller number of samples",
            )
        order = np.arange(len(self))
        if seed is not None:
            order = generator_of("split: seed", seed).permutation(len(self))
        return Dataset(*self.take(order[:count])), Dataset(*self.take(order[count:]))

    def take(self, chosen: Any) -> tuple[Any, Any]:
        """(x, y) of the chosen samples, in the form they were given in."""
        x, y = self.x, self.y
        return (
            tuple([a[chosen] for a in x]) if isinstance(x, tuple) else x[chosen],
            tuple([a[chosen] for a in y]) if isinstance(y, tuple) else y[chosen],
        )


def arrays_of(value: Any) -> tuple[Array, ...]:
    """`value` as arrays: a tuple holds several, anything else is one.

    Raises GraphcError for rows of different lengths.
    """
    several = value if isinstance(value, tuple) else (value,)
    return tuple(as_numbers("the data", each) for each in several)


def _counts(lengths: Sequence[int | None]) -> str:
    return " and ".join(str(n or "no") for n in dict.fromkeys(lengths)) or "no"


def standardise(train: Any, *others: Any, axes: tuple[int, ...] | None = None) -> tuple[Array, ...]:
    """The arrays as f32, moved and scaled so that `train` has mean 0 and deviation 1.

    axes: what mean and deviation are taken over; by default everything, (0, 2, 3) gives one of each
    per image channel. The other arrays get the numbers of `train`. A constant `train` is only
    moved. Raises GraphcError if there is nothing to take a mean of.
    """
    source = as_numbers("standardise: train", train)
    if source.size == 0 or source.dtype.kind not in "fiub":
        raise GraphcError(
            f"cannot standardise an array of {source.size} elements of dtype {source.dtype}",
            remedy="give numbers, at least one",
        )
    axes = normalize_axes(axes, source.ndim, "standardise")
    mean = source.mean(axis=axes, keepdims=True, dtype=np.float64)
    deviation = source.std(axis=axes, keepdims=True, dtype=np.float64)
    scale = 1.0 / np.where(deviation == 0, 1.0, deviation)
    return tuple(((np.asarray(a) - mean) * scale).astype(np.float32) for a in (source, *others))
