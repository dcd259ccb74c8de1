"""Normalisation layers beyond what PyTorch's answers say: closed forms, edges, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.ir.graph import Graph
from graphc.passes.autodiff import gradients
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import trace_callable

RNG = np.random.default_rng(0)
SAMPLES = RNG.standard_normal((3, 4, 5, 6), np.float32) * 3 + 2


def run(layer, x, backend: str, training: bool = False):
    """The output for an array, whose axis 0 is the batch, with parameters as they start."""
    shape = ",".join(map(str, ("N", *x.shape[1:])))
    traced = trace_callable(layer, [f"f32[{shape}]"], training=training)
    trace = traced.trace
    outputs = (*traced.outputs, *trace.updates.values())
    held = {**trace.parameters, **trace.states}
    graph = Graph("layer", (*traced.data, *(node for node, _ in held.values())), outputs)
    arrays = {name: first(node.tensor.concrete(1), RNG) for name, (node, first) in held.items()}
    found = gc.compile(graph, backend=backend)(x=x, **arrays)
    if not trace.updates:
        return found
    return found[0], dict(zip(trace.updates, found[1:], strict=True))


def close(got, expected) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=2e-5)


# -- statistics of whole axes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (nn.BatchNorm(), (0, 2, 3)),
        (nn.LayerNorm(), (1, 2, 3)),
        (nn.InstanceNorm(), (2, 3)),
        (nn.GroupNorm(1), (1, 2, 3)),
        (nn.GroupNorm(4), (2, 3)),
    ],
    ids=repr,
)
def test_the_mean_becomes_0_and_the_deviation_1(layer, axes, backend: str) -> None:
    found = run(layer, SAMPLES, backend, training=True)
    y = found[0] if isinstance(found, tuple) else found
    close(y.mean(axes), 0)
    close(y.std(axes), 1)


def test_a_group_of_everything_or_of_one_channel_are_the_other_norms(backend: str) -> None:
    close(run(nn.GroupNorm(1), SAMPLES, backend), run(nn.LayerNorm(), SAMPLES, backend))
    close(run(nn.GroupNorm(4), SAMPLES, backend), run(nn.InstanceNorm(), SAMPLES, backend))


def test_groups_hold_neighbouring_channels(backend: str) -> None:
    both = run(nn.GroupNorm(2), SAMPLES, backend)
    close(both[:, :2], run(nn.GroupNorm(1), SAMPLES[:, :2], backend))
    close(both[:, 2:], run(nn.GroupNorm(1), SAMPLES[:, 2:], backend))


def test_samples_do_not_see_each_other(backend: str) -> None:
    for layer in (nn.LayerNorm(), nn.InstanceNorm(), nn.GroupNorm(2), nn.LocalContrastNorm(3)):
        close(run(layer, SAMPLES, backend)[1:2], run(layer, SAMPLES[1:2], backend))


def test_parameters_have_pytorchs_names_and_shapes() -> None:
    def shapes(layer) -> dict[str, tuple[int, ...]]:
        graph = gc.trace(layer, "f32[N,4,5,6]")
        return {i.attrs["name"]: i.tensor.shape for i in graph.inputs[1:]}

    assert shapes(nn.LayerNorm()) == {"weight": (4, 5, 6), "bias": (4, 5, 6)}
    assert shapes(nn.GroupNorm(2)) == {"weight": (4,), "bias": (4,)}
    assert shapes(nn.InstanceNorm(affine=True)) == {"weight": (4,), "bias": (4,)}
    for layer in (nn.LayerNorm(affine=False), nn.GroupNorm(2, affine=False), nn.InstanceNorm()):
        assert shapes(layer) == {}


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_batch_norm_of_one_sample_of_one_pixel_is_its_bias(shape, backend: str) -> None:
    """PyTorch refuses it; the variance is 0, and so is what is remembered of it."""
    x = RNG.standard_normal(shape, np.float32)
    y, states = run(nn.BatchNorm(), x, backend, training=True)
    np.testing.assert_array_equal(y, np.zeros(shape))
    close(states["running_mean"], 0.1 * x.reshape(3))
    close(states["running_var"], np.full(3, 0.9))


UNIFORM = np.full((2, 4, 5, 6), 0.3, np.float32)


@pytest.mark.parametrize("x", [UNIFORM, 0 * UNIFORM], ids=["uniform", "zero"])
@pytest.mark.parametrize(
    "layer",
    [
        nn.LayerNorm(affine=False),
        nn.InstanceNorm(),
        nn.GroupNorm(2, affine=False),
        nn.LocalResponseNorm(),
        nn.LocalContrastNorm(3),
        nn.LocalContrastNorm(5, standard_score=True),
    ],
    ids=repr,
)
def test_where_nothing_varies_gradients_of_both_orders_are_finite(layer, x, backend: str) -> None:
    traced = trace_callable(lambda x, g: (layer(x) * g).sum(), ["f32[2,4,5,6]"] * 2)
    (slope,) = gradients(traced.outputs[0], traced.data[:1])
    (curve,) = gradients((Tensor(slope) * Tensor(slope)).sum().node, traced.data[:1])
    graph = Graph("flat", traced.data, (slope, curve))
    for found in gc.compile(graph, backend=backend)(x, SAMPLES[:2]):
        assert np.isfinite(found).all()


# -- neighbours ------------------------------------------------------------------------------------


def test_local_response_norm_is_alexnets_formula(backend: str) -> None:
    a = SAMPLES[:, :, 0, 0]
    b = np.empty_like(a)
    for i in range(4):
        near = a[:, max(0, i - 2) : min(3, i + 2) + 1]
        b[:, i] = a[:, i] / (2 + 1e-2 * (near**2).sum(1)) ** 0.75
    close(run(nn.LocalResponseNorm(alpha=1e-2), a, backend), b)
    close(run(nn.LocalResponseNorm(alpha=5e-2, alpha_over_size=True), a, backend), b)


def test_defaults_of_local_response_norm_are_alexnets() -> None:
    (node,) = [n for n in gc.trace(nn.LocalResponseNorm(), "f32[N,96,27,27]").nodes
               if n.op.name == "local_response_norm"]  # fmt: skip
    assert dict(node.attrs) == {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}


def test_local_response_norm_is_one_kernel() -> None:
    net = nn.Sequential(nn.Conv(8, 3), nn.ReLU(), nn.LocalResponseNorm())
    fused = gc.passes.Pipeline.parse("decompose,simplify,fuse")(gc.trace(net, "f32[N,3,6,6]"))
    assert len([n for n in fused.nodes if n.op.name != "input"]) == 2  # the other: conv, bias, relu


def test_local_contrast_norm_finds_an_edge_whatever_its_height(backend: str) -> None:
    x = np.zeros((2, 1, 9, 9), np.float32)
    x[0, :, :, 5:], x[1, :, :, 5:] = 1, 50
    low, high = run(nn.LocalContrastNorm(5), x, backend)
    close(low, high)
    assert np.abs(low[0, :, :2]).max() < 1e-3
    assert low[0, 4, 4] < -0.5
    assert low[0, 4, 5] > 0.5


def test_a_standard_score_has_deviation_1_in_a_window_that_holds_the_image(backend: str) -> None:
    layer = nn.LocalContrastNorm(11, float("inf"), across_maps=False, standard_score=True)
    close(run(layer, SAMPLES, backend), run(nn.InstanceNorm(eps=0.0), SAMPLES, backend))


@pytest.mark.parametrize("sigma", [1e-9, 1e-30, 1e-200])
def test_a_gaussian_narrower_than_a_pixel_leaves_no_neighbours(sigma: float, backend: str) -> None:
    """The local mean is the pixel itself, and nothing is left of it."""
    assert not run(nn.LocalContrastNorm(3, sigma, across_maps=False), SAMPLES, backend).any()


def test_a_constant_picture_has_no_contrast(backend: str) -> None:
    flat = np.full((1, 3, 6, 7), 0.3, np.float32)
    for layer in (nn.LocalContrastNorm(5), nn.LocalContrastNorm(5, standard_score=True)):
        assert np.abs(run(layer, flat, backend)).max() < 1e-2


# -- what is refused -------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    (lambda: nn.BatchNorm(momentum=1.5), "BatchNorm: momentum 1.5 is not a number in [0, 1]"),
    (lambda: nn.LayerNorm(eps=-1.0), "LayerNorm: eps -1.0"),
    (lambda: nn.LayerNorm(affine=1), "LayerNorm: affine 1"),
    (lambda: nn.GroupNorm(0), "GroupNorm: groups 0"),
    (lambda: nn.InstanceNorm("a"), "InstanceNorm: eps 'a'"),
    (lambda: nn.LocalResponseNorm(0), "LocalResponseNorm: size 0"),
    (lambda: nn.LocalResponseNorm(alpha=-1e-4), "LocalResponseNorm: alpha -0.0001"),
    (lambda: nn.LocalContrastNorm(sigma=0), "LocalContrastNorm: sigma 0"),
    (lambda: nn.LocalContrastNorm(eps=0.0), "LocalContrastNorm: eps 0.0"),
]


@pytest.mark.parametrize(("construct", "message"), BAD_ARGUMENTS, ids=[m for _, m in BAD_ARGUMENTS])
def test_bad_arguments_are_refused_by_the_constructor(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


BAD_INPUTS = [
    (nn.GroupNorm(3), "f32[N,4,5,5]", "4 channels do not divide into 3 groups"),
    (nn.InstanceNorm(), "f32[N,4]", "single numbers"),
    (nn.LayerNorm(), "f32[4,N]", "no channels on axis 1"),
    (nn.LayerNorm(), "f32[N,3,0,2]", "f32[N,3,0,2] has nothing to average over"),
    (nn.LocalResponseNorm(), "i32[N,4,5,5]", "no channels on axis 1"),
    (nn.LocalContrastNorm(4), "f32[N,1,5,5]", "window (4, 4) has no middle"),
    (nn.LocalContrastNorm(), "f32[N,4]", "2 axes, not 4"),
]


@pytest.mark.parametrize(("layer", "type", "message"), BAD_INPUTS, ids=[m for *_, m in BAD_INPUTS])
def test_inputs_that_do_not_fit_are_refused(layer, type: str, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        gc.trace(layer, type)
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


def test_reprs_are_what_a_user_would_write() -> None:
    layers = {
        "LayerNorm()": nn.LayerNorm(),
        "InstanceNorm(affine=True)": nn.InstanceNorm(affine=True),
        "GroupNorm(8, eps=0.1)": nn.GroupNorm(8, eps=0.1),
        "LocalResponseNorm(k=1.0, alpha_over_size=True)": nn.LocalResponseNorm(
            k=1.0, alpha_over_size=True
        ),
        "LocalContrastNorm(window=7, standard_score=True)": nn.LocalContrastNorm(
            7, standard_score=True
        ),
    }
    assert [repr(layer) for layer in layers.values()] == list(layers)


def test_a_batch_norm_that_is_used_twice_remembers_both_uses() -> None:
    """As PyTorch's: the second use moves the running averages from where the first left them."""
    generator = np.random.default_rng(0)
    first, second = (generator.normal(k, 1 + k, (6, 3)).astype(np.float32) for k in (1, 2))
    model = gc.Model(
        nn.Siamese(nn.BatchNorm(momentum=0.25), distance=True),
        ("f32[N,3]", "f32[N,3]"),
        loss=lambda distance, target: ((distance - target) * (distance - target)).mean(),
        target_type="f32[N]",
        optimizer=gc.optim.SGD(0.0),
        backend="numpy",
    )
    model.step((first, second), np.zeros(6, np.float32))
    mean, variance = np.zeros(3), np.ones(3)
    for x in (first, second):
        mean = 0.75 * mean + 0.25 * x.mean(0)
        variance = 0.75 * variance + 0.25 * x.var(0, ddof=1)
    np.testing.assert_allclose(model.params["net.running_mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(model.params["net.running_var"], variance, rtol=1e-5)
