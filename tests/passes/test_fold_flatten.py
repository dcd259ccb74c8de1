"""The flatten order in the weights of dense layers: what is no longer moved, and what stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphc as gc
from graphc import nn, optim
from graphc.ir.graph import Graph
from graphc.ir.layouts import features
from graphc.passes.base import Pipeline
from graphc.passes.batch_last import BatchLast
from graphc.passes.fold_flatten import FoldFlatten
from graphc.passes.instruments import Check, Verify
from graphc.passes.pack_parameters import PackParameters, packed_layouts

BLOCKED = Pipeline.parse("decompose,simplify,pool_first,block_channels")
FOLDED = Pipeline((FoldFlatten(), PackParameters()))
TYPE = "f32[N,3,8,8]"


def _images(channels: int = 32) -> list[nn.Module]:
    """Layers that make [N, channels, 2, 3]."""
    return [nn.Conv(channels, (3, 2)), nn.ReLU(), nn.MaxPool((3, 2))]


class Twice(nn.Module):
    """Two dense layers on the same features, which are also added up."""

    def __init__(self) -> None:
        self.images = nn.Sequential(*_images(), nn.Flatten())
        self.left, self.right = nn.Dense(10), nn.Dense(10)

    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        f = self.images(x)
        return self.left(f) * nn.sigmoid(self.right(nn.tanh(f))) + f.sum(axes=1, keepdims=True)


class Shared(nn.Module):
    """Weights that are read along their features by something else too."""

    def __init__(self) -> None:
        self.images = nn.Sequential(*_images(), nn.Flatten())
        self.flatten, self.dense = nn.Flatten(), nn.Dense(10)

    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        return self.dense(self.images(x)) + self.dense(self.flatten(x))


def _head(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*_images(), nn.Flatten(), *layers)


Network = Callable[[], nn.Module]
FOLDING: dict[str, Network] = {
    "a dense layer": lambda: _head(nn.Dense(10)),
    "one without bias, and another behind": lambda: _head(
        nn.Dense(16, bias=False), nn.ReLU(), nn.Dense(10)
    ),
    "an activation between": lambda: _head(nn.Tanh(), nn.Dense(10)),
    "dropout before": lambda: nn.Sequential(
        *_images(), nn.Dropout(0.5), nn.Flatten(), nn.Dense(10)
    ),
    "two on the same features": Twice,
}
STAYING: dict[str, Network] = {
    "dropout between": lambda: _head(nn.Dropout(0.5), nn.Dense(10)),
    "a scale for each feature between": lambda: _head(nn.BatchNorm(), nn.Dense(10)),
    "weights with another reader": Shared,
    "one pixel": lambda: nn.Sequential(*_images(), nn.AvgPool((2, 3)), nn.Flatten(), nn.Dense(10)),
    "no flatten": lambda: nn.Sequential(*_images(), nn.Conv(10, (2, 3)), nn.Flatten()),
}


def _step(network: Network, **options: object) -> Graph:
    optimizer = options.pop("optimizer", optim.SGD(0.1, momentum=0.9, weight_decay=0.01))
    model = gc.Model(
        network(), TYPE, loss="cross_entropy", optimizer=optimizer, backend="numpy", **options
    )  # type: ignore[arg-type]
    return BLOCKED(model.graphs["train"])


def _moved(graph: Graph) -> list[str]:
    """The copies of features: to or from row-major, or what is no image and no kernel."""
    return [
        f"{node.inputs[0].type} -> {node.type}"
        for node in graph.nodes
        if node.op.name == "relayout"
        and ("batch_first" in (node.tensor.layout, node.inputs[0].tensor.layout))
        and (node.tensor.rank == 2 or node.inputs[0].tensor.shape[1:] == (32, 2, 3))
    ]


@pytest.mark.parametrize("network", FOLDING.values(), ids=FOLDING)
@pytest.mark.parametrize(
    "options", [{}, {"optimizer": optim.Adam(0.1), "clip_norm": 1.0}, {"accumulate": 2}], ids=str
)
def test_neither_features_nor_their_gradient_are_moved(
    network: Network, options: dict[str, object]
) -> None:
    step = _step(network, **options)
    assert _moved(step)
    folded = FOLDED(step, [Verify(), Check()])  # the same answers, within the oracle's tolerance
    assert not _moved(folded)


@pytest.mark.parametrize("network", FOLDING.values(), ids=FOLDING)
def test_a_prediction_moves_none_either(network: Network) -> None:
    forward = BLOCKED(gc.trace(network(), TYPE, training=False))
    folded = FOLDED(forward, [Verify(), Check()])
    assert _moved(forward) and not _moved(folded)
    assert all(layout == "features_1_6" for layout in packed_layouts(folded).values())
    assert packed_layouts(folded)  # only these: kernels are copied once for many predictions


@pytest.mark.parametrize("network", STAYING.values(), ids=STAYING)
def test_others_stay_as_they_are(network: Network) -> None:
    step = _step(network)
    assert FoldFlatten().run(step) is step


@pytest.mark.parametrize("channels", [8, 24])
def test_channels_that_are_no_blocks_stay_as_they_are(channels: int) -> None:
    net = nn.Sequential(
        nn.Conv(64, 3), nn.Conv(channels, (1, 1)), nn.MaxPool((3, 2)), nn.Flatten(), nn.Dense(10)
    )
    forward = BLOCKED(gc.trace(net, TYPE))
    assert any(n.tensor.layout == "blocked_1" for n in forward.nodes if n.op.name == "conv2d")
    assert FoldFlatten().run(forward) is forward


def test_in_lanes_of_samples_a_flatten_is_free_anyway() -> None:
    net = nn.Sequential(nn.Conv(6, 3), nn.ReLU(), nn.Flatten(), nn.Dense(10))
    lanes = Pipeline.parse("decompose,simplify,batch_last")(gc.trace(net, TYPE))
    (flatten,) = (n for n in lanes.nodes if n.op.name == "reshape")
    assert flatten.tensor.layout == flatten.inputs[0].tensor.layout == "batch_last"
    assert next(n.inputs[0].op.name for n in lanes.nodes if n.op.name == "relayout") == "input"
    assert FoldFlatten().run(lanes) is lanes


@pytest.mark.parametrize("network", FOLDING.values(), ids=FOLDING)
def test_lanes_of_samples_elsewhere_leave_the_order_alone(network: Network) -> None:
    folded = FOLDED(_step(network))
    mixed = BatchLast().run(folded)
    assert any(n.tensor.layout == "batch_last" for n in mixed.nodes)
    inside = [n for n in mixed.nodes if n.op.name in ("matmul", "transpose", "relayout")]
    rows = [n for n in inside if n.tensor.rank == 2 and 192 in n.tensor.shape]
    assert rows and all(features(n.tensor.layout) for n in rows)


def test_low_rank_weights_follow_too() -> None:
    dense = gc.trace(_head(nn.Dense(40)), TYPE, training=False)
    low = BLOCKED(Pipeline.parse("svd{rank=2}")(dense))
    folded = FOLDED(low, [Verify(), Check()])
    assert [features(each) for each in packed_layouts(folded).values()] == [(1, 6)]
    assert not _moved(folded)
