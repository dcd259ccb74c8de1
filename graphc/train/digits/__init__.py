"""1,797 real handwritten digits that ship with graphc, with a fixed split.

Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998; CC BY 4.0, see
LICENSE.txt beside this file.
"""

from __future__ import annotations

import io
from importlib.resources import files

import numpy as np

from graphc.base.arguments import check_whole
from graphc.train.dataset import Dataset, standardise

SIZE = 8
TEST_EVERY = 5


def digits(
    upsample: int = 4, *, size: int | None = None, channels: int = 1
) -> tuple[Dataset, Dataset]:
    """(train, test): 1,437 and 360 handwritten digits as f32[n,channels,size,size], labels i32[n].

    upsample: each pixel becomes a square of that many. size: the image is put in the middle of a
    black square of that size (by default 8 * upsample: no border). channels: equal copies. Pixels
    are standardised by the training part. The test part is every fifth sample of each class; the
    same people wrote in both parts, so accuracy says how well known hands are read. Raises
    GraphcError for arguments out of range.
    """
    check_whole("digits: upsample", upsample)
    check_whole("digits: channels", channels)
    side = SIZE * upsample if size is None else size
    check_whole(f"digits: size with upsample {upsample}", side, SIZE * upsample)
    content = files(__package__).joinpath("digits.npz").read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        images, labels = stored["images"], stored["labels"].astype(np.int32)
    images = images.repeat(upsample, axis=1).repeat(upsample, axis=2)
    before = (side - SIZE * upsample) // 2
    after = side - SIZE * upsample - before
    images = np.pad(images, ((0, 0), (before, after), (before, after)))
    images = np.repeat(images[:, None], channels, axis=1)
    is_test = np.zeros(len(labels), bool)
    is_test[np.argsort(labels, kind="stable")[::TEST_EVERY]] = True
    train, test = standardise(images[~is_test], images[is_test])
    return Dataset(train, labels[~is_test]), Dataset(test, labels[is_test])
