"""A column of a multi-column network, written in the notation of its authors."""

from __future__ import annotations

from graphc_nn.notation import Column, parse


def mcdnn() -> Column:
    """One column 20C4-MP2-40C5-MP3-150N-10N with tanh, for 1x29x29 images: 76,040 parameters.

    Ciresan, Meier and Schmidhuber, "Multi-column deep neural networks for image classification",
    2012. Columns see differently prepared images; their outputs are averaged.
    """
    return parse("1x29x29-20C4-MP2-40C5-MP3-150N-10N")
