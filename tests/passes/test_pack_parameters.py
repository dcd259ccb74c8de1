"""Parameters in blocks from step to step: which, what follows them, and that the answers stay."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc import nn, optim
from graphc.ir.graph import Graph
from graphc.ir.layouts import ROW_MAJOR
from graphc.passes.base import Pipeline
from graphc.passes.instruments import Check, Verify
from graphc.passes.pack_parameters import PackParameters, packed_layouts
from graphc.passes.pipelines import SMALL, with_packed_parameters

BLOCKED = Pipeline.parse("decompose,simplify,block_channels")
PACKED = with_packed_parameters({"small": SMALL})["small"]


class Block(nn.Module):
    """A residual block."""

    def __init__(self, width: int) -> None:
        self.conv = nn.Conv(width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm()

    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        return nn.relu(self.norm(self.conv(x)) + x)


def _step(optimizer: optim.Optimizer, **options: object) -> Graph:
    """A training step of a small residual network."""
    net = nn.Sequential(
        nn.Conv(16, 3, padding=1), Block(16), nn.MaxPool(2), nn.Conv(32, 1), Block(32),
        nn.Flatten(), nn.Dense(10),
    )  # fmt: skip
    model = gc.Model(
        net, "f32[N,3,8,8]", loss="cross_entropy", optimizer=optimizer, backend="numpy", **options
    )  # type: ignore[arg-type]
    return model.graphs["train"]


def _copies(graph: Graph) -> list[tuple[str, str]]:
    """(from, to) of every copy to another layout of what has no batch, kernels looked into."""
    found = []
    for node in graph.nodes:
        inner = node.attrs["body"].nodes if node.op.name == "fused" else (node,)
        for each in inner:
            if each.op.name == "relayout" and each.tensor.batch_axis is None:
                found.append((each.inputs[0].tensor.layout, each.tensor.layout))
    return found


MOMENTUM = optim.SGD(0.1, momentum=0.9, weight_decay=0.01)
CONVOLUTIONS = {"0.weight", "1.conv.weight", "3.weight", "4.conv.weight"}
WEIGHTS = CONVOLUTIONS | {"6.weight"}


def test_no_weight_is_copied_to_or_from_row_major() -> None:
    step = _step(MOMENTUM)
    assert any(ROW_MAJOR in copy for copy in _copies(SMALL(step)))
    copies = _copies(PACKED(step))
    assert not any(ROW_MAJOR in copy for copy in copies)
    # The gradient of an image sums over maps and reads the weights in the order for that.
    assert set(copies) == {("blocked_1_0", "blocked_0_1")}


@pytest.mark.parametrize(
    ("optimizer", "states"),
    [
        (optim.SGD(0.1), ()),
        (MOMENTUM, ("velocity",)),
        (optim.Adam(0.1), ("first_moment", "second_moment")),
    ],
)
def test_states_lie_as_their_parameters(optimizer: optim.Optimizer, states: tuple[str]) -> None:
    layouts = packed_layouts(PACKED(_step(optimizer)))
    assert layouts["0.weight"] == "blocked_0"  # three channels are no block
    assert layouts["4.conv.weight"] == "blocked_1_0"
    assert layouts["6.weight"] == "features_1_16"  # behind the flatten
    assert set(layouts) == WEIGHTS | {f"{w}.{s}" for w in WEIGHTS for s in states}
    for name, layout in layouts.items():
        assert layout == layouts[name.partition(".weight")[0] + ".weight"]


@pytest.mark.parametrize(
    "options", [{}, {"clip_norm": 1.0}, {"accumulate": 2}, {"frozen": ("1.*",)}], ids=str
)
def test_the_answers_stay(options: dict[str, object]) -> None:
    step = BLOCKED(_step(optim.Adam(0.1), **options))
    packed = Pipeline((PackParameters(),))(step, [Verify(), Check()])
    assert packed is not step
    assert set(packed_layouts(packed)) >= CONVOLUTIONS  # the frozen too


def test_what_sums_over_a_gradient_reads_it_row_major() -> None:
    packed = PACKED(_step(MOMENTUM, clip_norm=1.0))
    assert ("blocked_1_0", ROW_MAJOR) in _copies(packed)  # so that the norm has the same bits


def test_a_prediction_and_a_narrow_network_stay_as_they_are() -> None:
    wide = nn.Sequential(nn.Conv(16, 3), nn.ReLU())
    prediction = BLOCKED(gc.trace(wide, "f32[N,16,8,8]"))
    assert PackParameters().run(prediction) is prediction
    net = nn.Sequential(nn.Conv(6, 5), nn.Flatten(), nn.Dense(10))
    narrow = gc.Model(
        net, "f32[N,1,8,8]", loss="cross_entropy", optimizer=MOMENTUM, backend="numpy"
    )
    step = BLOCKED(narrow.graphs["train"])
    assert PackParameters().run(step) is step
