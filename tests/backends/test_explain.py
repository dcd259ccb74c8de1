"""What a profile says of kernels and layers, counted in another way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.inspect.cost import flops
from graphc.runtime.layers import layer_parts
from graphc.runtime.profile import Profile
from graphc_llvm.runner import LLVMRunner

N, CHANNELS, SIDE = 2, 64, 14  # four tiles across, the last of them half outside


@pytest.fixture(scope="module")
def model() -> gc.Model:
    """A network whose 3x3 convolutions are computed in tiles, after a training step."""
    net = nn.Sequential(
        nn.Conv(CHANNELS, 1), nn.Conv(CHANNELS, 3, padding=1), nn.ReLU(),
        nn.Conv(CHANNELS, 3, padding=1), nn.Flatten(), nn.Dense(10),
    )  # fmt: skip
    made = gc.Model(
        net, f"f32[N,{CHANNELS},{SIDE},{SIDE}]", "cross_entropy", optim.SGD(0.01, momentum=0.9),
        threads=2,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    made.step(rng.standard_normal((N, CHANNELS, SIDE, SIDE), np.float32), np.array([1, 2]))
    return made


@pytest.fixture(scope="module")
def profile(model: gc.Model) -> Profile:
    (found,) = model.executable("train").profiles()
    return found


def _program(model: gc.Model) -> Any:
    runner = model.executable("train").runner
    assert isinstance(runner, LLVMRunner)
    return runner.variants["small"].program


def test_a_kernel_that_another_thread_ran_alone_has_a_time(
    model: gc.Model, profile: Profile
) -> None:
    assert profile.threads == 2
    kernels = [call.kernel for call in _program(model).calls]
    assert any("parallel" not in str(kernel) for kernel in kernels)
    assert all(kernel.seconds > 0 for kernel in profile.kernels)


def test_layers_in_tiles_count_as_direct_convolutions(model: gc.Model, profile: Profile) -> None:
    direct = {
        (node.op.name, node.tensor.shape): flops(node, N)
        for node in model.graphs["train"].nodes
        if node.op.name.startswith("conv2d")
    }
    (forward,) = {f for (name, _), f in direct.items() if name == "conv2d" and f > 2e7}
    parts = [part for part in profile.layers if part.op.endswith("in tiles")]
    assert [(p.layer, p.op, len(p.kernels), p.flops) for p in parts] == [
        ("1", "conv2d in tiles", 4, forward),
        ("3", "conv2d in tiles", 4, forward),
        ("3", "conv2d_input_grad in tiles", 4, forward),
        ("1", "conv2d_input_grad in tiles", 4, forward),
        ("1", "conv2d_weight_grad in tiles", 3, forward),
        ("3", "conv2d_weight_grad in tiles", 3, forward),
    ]


@pytest.mark.parametrize("side", [12, 14])
def test_layers_that_are_pooled_in_tiles_count_whole(side: int) -> None:
    net = nn.Sequential(
        nn.Conv(64, 3, padding=1), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(10)
    )
    made = gc.Model(net, f"f32[N,64,{side},{side}]", "cross_entropy", optim.SGD(0.01), threads=1)
    made.step(np.ones((N, 64, side, side), np.float32), np.array([1, 2]))
    (found,) = made.executable("train").profiles()
    tiled = {part.op: part.flops for part in found.layers if part.op.endswith("in tiles")}
    whole = 2 * N * side**2 * 64 * 64 * 9
    assert tiled == dict.fromkeys(("conv2d in tiles", "conv2d_weight_grad in tiles"), whole)


def test_every_contraction_belongs_to_the_layer_of_its_parameter(profile: Profile) -> None:
    plain = [(p.layer, p.op) for p in profile.layers if not p.op.endswith("in tiles")]
    assert sorted(plain) == [
        ("0", "conv2d"), ("0", "conv2d_weight_grad"),
        ("5", "matmul"), ("5", "matmul"), ("5", "matmul"),
    ]  # fmt: skip


def test_no_kernel_is_counted_twice(model: gc.Model, profile: Profile) -> None:
    counted = [k for part in profile.layers for k in part.kernels]
    assert len(counted) == len(set(counted))
    for part, whole in zip(profile.layers, layer_parts(_program(model)), strict=True):
        assert part.flops == whole.flops.at(N)
        assert part.seconds == pytest.approx(sum(profile.kernels[k].seconds for k in part.kernels))


def test_names_survive_clipping_which_reads_every_gradient() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dense(24), nn.Tanh(), nn.Dense(24), nn.Dense(10))
    made = gc.Model(net, "f32[N,4,6]", "cross_entropy", optim.Adam(0.01), clip_norm=1.0, threads=1)
    made.step(np.ones((3, 4, 6), np.float32), np.array([1, 2, 3]))
    (found,) = made.executable("train").profiles()
    layers = [part.layer for part in found.layers]
    assert {name: layers.count(name) for name in layers} == {"1": 2, "3": 3, "4": 3}


def test_layers_keep_their_names_when_their_weights_are_made_elsewhere() -> None:
    """Predictions compute once what depends on parameters alone; that is a profile of its own."""
    net = nn.Sequential(nn.Conv(16, 1), nn.Conv(CHANNELS, 3, padding=1), nn.Conv(16, 3))
    made = gc.Model(net, f"f32[N,{CHANNELS},{SIDE},{SIDE}]")
    made.predict(np.ones((N, CHANNELS, SIDE, SIDE), np.float32))
    call, once = made.executable().profiles()
    assert [part.layer for part in call.layers] == ["0", "1", "2"]
    assert "from parameters alone" in once.variant and not once.layers
    assert {op for kernel in once.kernels for op in kernel.ops} >= {"relayout"}


def test_what_the_text_says(profile: Profile) -> None:
    text = profile.text()
    assert len(text.splitlines()) == 5 + len(profile.kernels) + len(profile.layers)
    short = profile.text(3)
    longest = max(profile.kernels, key=lambda k: k.seconds)
    assert f"{longest.name}: {' '.join(longest.ops)}" in short.splitlines()[3]
    assert f"... and {len(profile.kernels) - 3} more, " in short
    assert profile.to_dict()["kernels"][0]["name"] == profile.kernels[0].name
