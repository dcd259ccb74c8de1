"""Networks by name: ``zoo.lenet5()``. Each builder returns a fresh network of `graphc_nn` layers.

Layer order is that of the usual PyTorch spelling, so that parameter names equal its state_dict's.
`NETWORKS` lists them with the input they are for; `parse` builds one from its notation. Nothing
here trains or compiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphc_nn.notation import Column, parse
from graphc_nn.zoo.alexnet import alexnet, zfnet
from graphc_nn.zoo.autoencoders import (
    autoencoder,
    denoising_autoencoder,
    sparse_autoencoder,
    stacked_autoencoder,
)
from graphc_nn.zoo.detection import fast_rcnn
from graphc_nn.zoo.faces import deepid, pyramid_cnn
from graphc_nn.zoo.googlenet import googlenet
from graphc_nn.zoo.lenet import lenet5, lenet5_original
from graphc_nn.zoo.mcdnn import mcdnn
from graphc_nn.zoo.perceptrons import deeptraffic, mlp, sigmoid_2_2_2
from graphc_nn.zoo.resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from graphc_nn.zoo.saliency import saliency_fcn
from graphc_nn.zoo.small_images import (
    caltech101,
    cifar_small,
    convnetjs_cifar10,
    simplenet,
    stl10,
    tf_tutorial,
    x_or_o,
)
from graphc_nn.zoo.vgg import vgg16

__all__ = [
    "NETWORKS",
    "Column",
    "Network",
    "alexnet",
    "autoencoder",
    "caltech101",
    "cifar_small",
    "convnetjs_cifar10",
    "deepid",
    "deeptraffic",
    "denoising_autoencoder",
    "fast_rcnn",
    "googlenet",
    "lenet5",
    "lenet5_original",
    "mcdnn",
    "mlp",
    "parse",
    "pyramid_cnn",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "saliency_fcn",
    "sigmoid_2_2_2",
    "simplenet",
    "sparse_autoencoder",
    "stacked_autoencoder",
    "stl10",
    "tf_tutorial",
    "vgg16",
    "x_or_o",
    "zfnet",
]

Types = str | tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A builder, the type of the input it is for, and what it is in a line.

    input_type: one type, or a tuple of them where there are several inputs. loss: the name of the
    usual one. small_input_type: of smaller images that the network takes too, where a step on those
    of `input_type` is a matter of seconds.
    """

    build: Callable[[], Callable[..., Any]]
    input_type: Types
    description: str
    loss: str = "cross_entropy"
    small_input_type: Types | None = None

    @property
    def input_types(self) -> tuple[str, ...]:
        """The type of each input."""
        return (self.input_type,) if isinstance(self.input_type, str) else self.input_type


PHOTO, LARGE_PHOTO = "f32[N,3,224,224]", "f32[N,3,227,227]"
DIGIT, PIXELS = "f32[N,1,28,28]", "f32[N,784]"
SMALL_PHOTO = "f32[N,3,64,64]"

NETWORKS: dict[str, Network] = {
    "lenet5": Network(lenet5, "f32[N,1,32,32]", "LeNet-5, plain variant: tanh, average pooling"),
    "lenet5_original": Network(
        lenet5_original, "f32[N,1,32,32]", "LeNet-5 as published: connection table, subsampling"
    ),
    "mlp": Network(mlp, DIGIT, "784-256-128-10 with ReLU"),
    "cifar_small": Network(cifar_small, "f32[N,3,32,32]", "two convolutions for 32x32 RGB images"),
    "mcdnn": Network(mcdnn, "f32[N,1,29,29]", "one column of a multi-column network"),
    "autoencoder": Network(autoencoder, DIGIT, "784-784-784-10 with sigmoid"),
    "sigmoid_2_2_2": Network(
        sigmoid_2_2_2, "f32[N,2]", "the two-layer worked example", loss="squared_error"
    ),
    "x_or_o": Network(x_or_o, "f32[N,1,9,9]", "three filters that tell an X from an O"),
    "deeptraffic": Network(deeptraffic, "f32[N,19]", "values of a car's actions", loss="mse"),
    "stl10": Network(stl10, "f32[N,3,96,96]", "three convolutions for 96x96 RGB images"),
    "caltech101": Network(caltech101, "f32[N,3,200,200]", "four convolutions for 200x200 images"),
    "convnetjs_cifar10": Network(
        convnetjs_cifar10, "f32[N,3,32,32]", "ConvNetJS's three convolutions for CIFAR-10"
    ),
    "tf_tutorial": Network(tf_tutorial, DIGIT, "TensorFlow's tutorial on digits"),
    "simplenet": Network(simplenet, "f32[N,1,64,64]", "two convolutions for 15 kinds of scenes"),
    "alexnet": Network(
        alexnet, LARGE_PHOTO, "ImageNet 2012: five convolutions", small_input_type="f32[N,3,67,67]"
    ),
    "zfnet": Network(zfnet, PHOTO, "ImageNet 2013: a finer AlexNet", small_input_type=SMALL_PHOTO),
    "vgg16": Network(
        vgg16, PHOTO, "ImageNet 2014: stacks of 3x3", small_input_type="f32[N,3,32,32]"
    ),
    "googlenet": Network(
        googlenet, PHOTO, "ImageNet 2014: inception modules", small_input_type=SMALL_PHOTO
    ),
    **{
        build.__name__: Network(
            build,
            PHOTO,
            f"ImageNet 2015: {build.__name__.removeprefix('resnet')} layers",
            small_input_type=SMALL_PHOTO,
        )
        for build in (resnet18, resnet34, resnet50, resnet101, resnet152)
    },
    "deepid": Network(deepid, "f32[N,1,39,31]", "features of a face, learnt by naming it"),
    "pyramid_cnn": Network(
        pyramid_cnn,
        ("f32[N,1,32,32]", "f32[N,1,32,32]"),
        "pairs of face patches, trained level by level",
        loss="contrastive",
    ),
    "fast_rcnn": Network(
        fast_rcnn,
        ("f32[2,3,600,800]", "f32[N,5]"),
        "names and boxes of regions, on VGG-16",
        loss="multi_task",
        small_input_type=("f32[2,3,64,64]", "f32[N,5]"),
    ),
    "saliency_fcn": Network(
        saliency_fcn,
        PHOTO,
        "where people look, by convolutions alone",
        loss="mse",
        small_input_type="f32[N,3,32,32]",
    ),
    "sparse_autoencoder": Network(
        sparse_autoencoder, "f32[N,100]", "100-50-100 with a sparse code", loss="squared_error"
    ),
    "denoising_autoencoder": Network(
        denoising_autoencoder, PIXELS, "784-784-784, tied: repairs images", loss="mse"
    ),
    "stacked_autoencoder": Network(
        stacked_autoencoder, PIXELS, "two encoders and their decoders", loss="mse"
    ),
}
