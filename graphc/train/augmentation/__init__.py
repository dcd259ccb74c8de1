"""Augmentation: random changes of batches of samples, made with numpy while a network trains.

Public through ``graphc.data``. The names only; each is explained where it is defined.
"""

from graphc.train.augmentation.colour import ColourJitter, PCAJitter
from graphc.train.augmentation.noise import MaskingNoise, Noise, SaltAndPepper
from graphc.train.augmentation.placement import CentreCrop, Crop, Cutout, Mirror, Shift
from graphc.train.augmentation.transform import Augment, ImageTransform, Transform
from graphc.train.augmentation.warping import Elastic, NormalizeWidth, Rotate, Scale

__all__ = [
    "Augment",
    "CentreCrop",
    "ColourJitter",
    "Crop",
    "Cutout",
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
    "Shift",
    "Transform",
]
