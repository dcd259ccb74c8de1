"""The zoo: parameter counts, published or by hand; sizes, names, and the multiply-adds of AlexNet.

Counting needs tracing only: nothing here allocates a parameter.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

import graphc as gc
from graphc import nn, zoo
from graphc.inspect.cost import graph_flops
from graphc.ir.graph import Graph

RESNETS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}
VGG16_FEATURES = 14_714_688  # of the convolutions


def dense(*widths: int) -> int:
    """Weights and biases of dense layers between those widths."""
    return sum(i * o + o for i, o in pairwise(widths))


def conv(features: int, channels: int, kernel: int) -> int:
    """Weights and biases of a convolution."""
    return features * channels * kernel**2 + features


COUNTS = {
    "lenet5": 61_706,
    "lenet5_original": 60_000 + 10 * 84,  # the paper's figure, and a code for each class
    "mlp": dense(784, 256, 128, 10),
    "cifar_small": conv(12, 3, 5) + conv(24, 12, 5) + dense(24 * 5**2, 10),
    "mcdnn": 76_040,
    "autoencoder": dense(784, 784, 784, 10),
    "sigmoid_2_2_2": 12,
    "x_or_o": 27 + dense(3 * 4**2, 2),
    "deeptraffic": dense(19, 1, 5),
    "stl10": conv(12, 3, 5) + conv(24, 12, 3) + conv(16, 24, 5) + dense(16 * 9**2, 4),
    "caltech101": (
        conv(12, 3, 5) + conv(24, 12, 3) + conv(20, 24, 5) + conv(16, 20, 5) + dense(16 * 9**2, 10)
    ),
    "convnetjs_cifar10": (
        conv(16, 3, 5) + conv(20, 16, 5) + conv(20, 20, 5) + dense(20 * 4**2, 10)
    ),
    "tf_tutorial": 1_663_370,
    "simplenet": conv(10, 1, 5) + conv(20, 10, 5) + dense(500, 100, 15),
    "alexnet": 60_965_224,
    "zfnet": (
        conv(96, 3, 7) + conv(256, 96, 5) + conv(512, 256, 3) + conv(1024, 512, 3)
        + conv(512, 1024, 3) + dense(512 * 6**2, 4096, 4096, 1000)
    ),
    "vgg16": 138_357_544,
    "googlenet": 6_998_552,
    **RESNETS,
    "deepid": (
        conv(20, 1, 4) + conv(40, 20, 3) + 3 * 2 * conv(60, 40, 3) + 2 * conv(80, 60, 2)
        + dense(60 * 3 * 2 + 80 * 2, 160, 10_000)
    ),
    "pyramid_cnn": conv(16, 1, 3) + conv(32, 16, 3) + conv(64, 32, 3) + dense(64 * 4**2, 8),
    "fast_rcnn": VGG16_FEATURES + dense(512 * 7**2, 4096, 4096) + dense(4096, 21) + dense(4096, 84),
    "saliency_fcn": (
        conv(64, 3, 3) + conv(128, 64, 3) + conv(256, 128, 3) + conv(512, 256, 3)
        + conv(512, 512, 3) + conv(4096, 512, 7) + conv(4096, 4096, 1) + conv(256, 4096, 1)
        + conv(512, 256, 4) + conv(256, 512, 4) + conv(256, 256, 16)
    ),
    "sparse_autoencoder": dense(100, 50, 100),
    "denoising_autoencoder": 784 * 784 + 784 + 784,
    "stacked_autoencoder": dense(784, 784, 784, 784, 784),
}  # fmt: skip
OUTPUTS = {
    "sigmoid_2_2_2": ("f32[N,2]",),
    "x_or_o": ("f32[N,2]",),
    "deeptraffic": ("f32[N,5]",),
    "stl10": ("f32[N,4]",),
    "simplenet": ("f32[N,15]",),
    "deepid": ("f32[N,10000]",),
    "pyramid_cnn": ("f32[N,8]", "f32[N,8]"),
    "fast_rcnn": ("f32[N,21]", "f32[N,84]"),
    "saliency_fcn": ("f32[N,256,224,224]",),
    "sparse_autoencoder": ("f32[N,100]",),
    "denoising_autoencoder": ("f32[N,784]",),
    "stacked_autoencoder": ("f32[N,784]",),
    **dict.fromkeys(("alexnet", "zfnet", "vgg16", "googlenet", *RESNETS), ("f32[N,1000]",)),
}


@cache
def graph_of(name: str) -> Graph:
    network = zoo.NETWORKS[name]
    return gc.trace(network.build(), *network.input_types)


def sizes(graph: Graph) -> dict[str, int]:
    """How many numbers each parameter has."""
    return {
        i.attrs["name"]: i.tensor.count() for i in graph.inputs if i.attrs["kind"] == "parameter"
    }


def layers(name: str) -> list[int]:
    """Parameters of each layer, in order: a weight and its bias are one."""
    found: dict[str, int] = {}
    for parameter, size in sizes(graph_of(name)).items():
        layer = parameter.rpartition(".")[0]
        found[layer] = found.get(layer, 0) + size
    return list(found.values())


def test_every_network_has_a_known_count() -> None:
    assert zoo.NETWORKS.keys() == COUNTS.keys()
    assert all(getattr(zoo, name) is row.build for name, row in zoo.NETWORKS.items())


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_count(name: str) -> None:
    assert sum(sizes(graph_of(name)).values()) == COUNTS[name]
    stated = re.search(r"([\d,]+)\s+parameters", zoo.NETWORKS[name].build.__doc__)
    assert int(stated[1].replace(",", "")) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_outputs_and_text_form(name: str) -> None:
    graph = graph_of(name)
    assert tuple(str(o.tensor) for o in graph.outputs) == OUTPUTS.get(name, ("f32[N,10]",))
    assert gc.parse(str(graph)) is graph
    small = zoo.NETWORKS[name].small_input_type
    if small is not None:
        gc.trace(zoo.NETWORKS[name].build(), *([small] if isinstance(small, str) else small))


# -- layer by layer --------------------------------------------------------------------------------


def test_lenet5_layer_by_layer() -> None:
    assert layers("lenet5") == [156, 2416, 48_120, 10_164, 850]
    assert layers("lenet5_original") == [156, 12, 1516, 32, 48_120, 10_164, 840]


def test_alexnet_layer_by_layer() -> None:
    published = [35e3, 307e3, 885e3, 663e3, 442e3, 37.7e6, 16.8e6, 4.1e6]
    assert layers("alexnet") == pytest.approx(published, rel=2e-3)


def test_alexnet_takes_three_quarters_of_a_billion_multiply_adds() -> None:
    """A multiply-add is two operations; activations and normalisations are a hundredth."""
    assert graph_flops(graph_of("alexnet")) / 2 == pytest.approx(0.72e9, rel=0.02)


def test_vgg16_layer_by_layer() -> None:
    found = layers("vgg16")
    assert sum(found[:13]) == VGG16_FEATURES
    rounded = [round(count / 1e3) for count in found[:13]] + [round(c / 1e5) for c in found[13:]]
    assert rounded == [
        2, 37, 74, 148, 295, 590, 590, 1180, 2360, 2360, 2360, 2360, 2360, 1028, 168, 41,
    ]  # fmt: skip


def test_resnets_have_as_many_weighted_layers_as_they_are_called_after() -> None:
    for name in RESNETS:
        weights = [p for p in sizes(graph_of(name)) if ".d." not in p and p.endswith("weight")]
        normalisations = len(weights) // 2  # one behind every convolution
        assert len(weights) - normalisations == int(name.removeprefix("resnet"))


def test_the_auxiliary_classifiers_of_googlenet() -> None:
    """They add what they say, and leave the names of all else as they are."""
    plain = sizes(graph_of("googlenet"))
    net = zoo.googlenet(auxiliary=True)
    training = gc.trace(net, "f32[N,3,224,224]", training=True)
    found = sizes(training)
    heads = [conv(128, c, 1) + dense(128 * 4**2, 1024, 1000) for c in (512, 528)]
    assert sum(found.values()) == COUNTS["googlenet"] + sum(heads) == 13_378_280
    assert {n: s for n, s in found.items() if not n.startswith("auxiliary.")} == plain
    assert [str(o.tensor) for o in training.outputs] == ["f32[N,1000]"] * 3
    predicting = gc.trace(net, "f32[N,3,224,224]")
    assert sizes(predicting) == plain and len(predicting.outputs) == 1


def test_saliency_maps_shrink_to_7_and_grow_back() -> None:
    sides = [n.tensor.shape[2] for n in graph_of("saliency_fcn").nodes if n.op.name == "add"]
    assert sides == [224, 112, 56, 28, 14, 7, 7, 7, 14, 28, 224]


def test_a_pyramid_has_one_to_three_stages() -> None:
    for stages, side in ((1, 8), (2, 16), (3, 32)):
        patch = f"f32[N,1,{side},{side}]"
        found = sizes(gc.trace(zoo.pyramid_cnn(stages), patch, patch))
        width = 2 ** (3 + stages)
        assert found["net.numbers.1.weight"] == width * 4**2 * 8
    with pytest.raises(gc.GraphcError, match="stages is 4"):
        zoo.pyramid_cnn(4)


def test_fast_rcnn_takes_other_features() -> None:
    net = zoo.fast_rcnn(3, nn.Sequential(nn.Conv(4, 3, stride=2, padding=1)), stride=2, width=16)
    graph = gc.trace(net, "f32[2,1,32,32]", "f32[N,5]")
    assert sum(sizes(graph).values()) == conv(4, 1, 3) + dense(4 * 7**2, 16, 16) + dense(16, 20)


# -- what they begin with --------------------------------------------------------------------------


def test_x_or_o_begins_with_the_strokes_of_the_worked_example() -> None:
    """On an X the falling stroke, the crossing and the rising stroke fit exactly somewhere."""
    image = np.full((1, 1, 9, 9), -1, np.float32)
    for k in range(1, 8):
        image[0, 0, k, k] = image[0, 0, k, 8 - k] = 1
    net = zoo.x_or_o()
    model = gc.Model(nn.Sequential(*list(net)[:3]), "f32[N,1,9,9]", backend="numpy")
    assert model.predict(image).max((0, 2, 3)) == pytest.approx([1, 1, 1])


def test_the_column_is_what_its_notation_says() -> None:
    column, parsed = zoo.mcdnn(), zoo.parse("1x29x29-20C4-MP2-40C5-MP3-150N-10N")
    assert repr(column) == repr(parsed)
    traces = [gc.trace(net, net.input_type, name="net") for net in (column, parsed)]
    assert traces[0] is traces[1]
    assert column.input_type == zoo.NETWORKS["mcdnn"].input_type
