"""Autoencoders: networks that learn to give back what they see, and what is made of them.

Knows layers; training one level after the other is `graphc_nn.pretraining`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence

import graphc_nn as nn
from graphc.ir.types import whole_numbers


def autoencoder() -> nn.Sequential:
    """784-784-784-10 with sigmoid, for 1x28x28 images: 1,238,730 parameters.

    A classifier on the codes of two stacked autoencoders; `nn.pretrain` trains its levels.
    """
    return nn.Sequential(
        nn.Flatten(),
        nn.Dense(784),
        nn.Sigmoid(),
        nn.Dense(784),
        nn.Sigmoid(),
        nn.Dense(10),
    )


def sparse_autoencoder(inputs: int = 100, hidden: int = 50) -> nn.Sequential:
    """100-50-100 with sigmoid and a sparse code, for 10x10 patches: 10,150 parameters.

    Training adds 3 KL(0.05 || mean activation) for each hidden unit to the loss. Ng, "Sparse
    autoencoder", CS294A lecture notes, 2011.
    """
    return nn.Sequential(
        nn.Dense(hidden),
        nn.Sigmoid(),
        nn.Sparsity(rho=0.05, weight=3.0),
        nn.Dense(inputs),
        nn.Sigmoid(),
    )


def denoising_autoencoder(hidden: int = 784) -> nn.Sequential:
    """784-784-784 with tied weights and sigmoid, which repairs 784 pixels: 616,224 parameters.

    Trained on damaged images with whole ones as targets: `gc.data.MaskingNoise(0.1)` is an
    augmentation that sets a tenth of the pixels to 0. Vincent et al., "Extracting and composing
    robust features with denoising autoencoders", 2008.
    """
    encoder = nn.Dense(hidden)
    return nn.Sequential(encoder, nn.Sigmoid(), nn.TiedDense(encoder), nn.Sigmoid())


def stacked_autoencoder(widths: Sequence[int] = (784, 784), inputs: int = 784) -> nn.Sequential:
    """784-784-784-784-784 with sigmoid, encoders then decoders: 2,461,760 parameters.

    What two stacked autoencoders unroll to, to be fine-tuned as one. Its encoders have the names
    that they have in `autoencoder`. Hinton and Salakhutdinov, "Reducing the dimensionality of data
    with neural networks", 2006. widths: of the codes.
    """
    codes = whole_numbers(widths, "stacked_autoencoder: widths", least=1)
    coders = [nn.Dense(width) for width in (*codes, *codes[-2::-1], inputs)]
    return nn.Sequential(nn.Flatten(), *(part for c in coders for part in (c, nn.Sigmoid())))
