"""``graphc.data``: data sets in arrays, augmentation, readers of data files, and digits that ship
with graphc.

The names only; each is explained where it is defined.
"""

from graphc.train.augmentation import (
    Augment,
    CentreCrop,
    ColourJitter,
    Crop,
    Cutout,
    Elastic,
    ImageTransform,
    MaskingNoise,
    Mirror,
    Noise,
    NormalizeWidth,
    PCAJitter,
    Rotate,
    SaltAndPepper,
    Scale,
    Shift,
    Transform,
)
from graphc.train.dataset import Dataset, standardise
from graphc.train.digits import digits
from graphc.train.image_folder import read_images
from graphc.train.pairs import pairs
from graphc.train.readers import (
    read_cifar10,
    read_cifar100,
    read_idx,
    read_mnist,
    read_stl10,
    read_stl10_images,
)
from graphc.train.scenes import Scenes, scenes

__all__ = [
    "Augment",
    "CentreCrop",
    "ColourJitter",
    "Crop",
    "Cutout",
    "Dataset",
    "Elastic",
    "ImageTransform",
    "MaskingNoise",
    "Mirror",
    "Noise",
    "NormalizeWidth",
    "PCAJitter",
    "Rotate",
    "SaltAndPepper",
    "Scale",
    "Scenes",
    "Shift",
    "Transform",
    "digits",
    "pairs",
    "read_cifar10",
    "read_cifar100",
    "read_idx",
    "read_images",
    "read_mnist",
    "read_stl10",
    "read_stl10_images",
    "scenes",
    "standardise",
]
