"""Convolution layers: true convolution, connection tables, transposed and locally connected ones.

Values against PyTorch are in test_torch_layers.py; here is what follows from the definitions, which
parameters there are and how they are drawn, and what is refused.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.tracing.trace import trace_callable

RNG = np.random.default_rng(1)


def shapes(net: Any, input_type: str) -> dict[str, tuple[int, ...]]:
    graph = gc.trace(net, input_type)
    return {i.attrs["name"]: i.tensor.shape for i in graph.inputs if i.attrs["kind"] != "data"}


def count(net: Any, input_type: str) -> int:
    return sum(math.prod(shape) for shape in shapes(net, input_type).values())


def drawn(net: Any, input_type: str) -> dict[str, np.ndarray]:
    """The first values of all parameters."""
    table = trace_callable(net, [input_type]).trace.parameters
    rng = np.random.default_rng(0)
    return {name: draw(node.tensor.concrete(1), rng) for name, (node, draw) in table.items()}


def run(net: Any, x: np.ndarray, backend: str, **held: np.ndarray) -> np.ndarray:
    dtype = {"float32": "f32", "float64": "f64"}[x.dtype.name]
    graph = gc.trace(net, f"{dtype}[N,{','.join(map(str, x.shape[1:]))}]")
    return gc.compile(graph, backend)(x, **held)


def output_shape(net: Any, input_type: str) -> tuple[int, ...]:
    return gc.trace(net, input_type).outputs[0].tensor.shape[1:]


# -- true convolution ------------------------------------------------------------------------------


def test_an_impulse_convolved_gives_the_kernel_and_correlated_gives_it_rotated(
    backend: str,
) -> None:
    kernel = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    impulse = np.zeros((1, 1, 5, 5), np.float32)
    impulse[0, 0, 2, 2] = 1
    flipped = run(nn.Conv(1, 3, bias=False, flip=True), impulse, backend, weight=kernel)
    plain = run(nn.Conv(1, 3, bias=False), impulse, backend, weight=kernel)
    np.testing.assert_array_equal(flipped, kernel)
    np.testing.assert_array_equal(plain, kernel[:, :, ::-1, ::-1])


# -- connection tables -----------------------------------------------------------------------------

SOME = ((1,), (0, 2), (0, 1, 2))


def test_c3_of_lenet5_has_60_connections_and_1516_parameters() -> None:
    layer = nn.Conv(16, 5, connections=nn.LENET5_CONNECTIONS)
    assert shapes(layer, "f32[N,6,14,14]") == {"weight": (60, 5, 5), "bias": (16,)}
    assert count(layer, "f32[N,6,14,14]") == 60 * 25 + 16 == 1516
    assert count(nn.Conv(6, 5), "f32[N,1,32,32]") == 156


def test_the_table_of_lenet5_is_the_one_of_the_paper() -> None:
    """Six maps read three neighbours, six four neighbours, three two pairs, and one all six."""
    rows = nn.LENET5_CONNECTIONS
    maps = [{c for c in range(6) if rows[c][k] == "X"} for k in range(16)]
    assert maps[:6] == [{(k + j) % 6 for j in range(3)} for k in range(6)]
    assert maps[6:12] == [{(k + j) % 6 for j in range(4)} for k in range(6)]
    assert maps[12:15] == [{k, k + 1, k + 3, (k + 4) % 6} for k in range(3)]
    assert maps[15] == set(range(6))


def test_a_table_is_written_as_rows_of_text_or_as_the_maps_that_each_map_reads() -> None:
    types = "f32[N,3,5,5]"
    by_numbers = gc.trace(nn.Conv(3, 2, connections=SOME), types, name="net")
    assert gc.trace(nn.Conv(3, 2, connections=(".XX", "X.X", ".XX")), types, name="net") is (
        by_numbers
    )
    text = """
        .XX
        X.X
        .XX
    """
    assert gc.trace(nn.Conv(3, 2, connections=text), types, name="net") is by_numbers
    turned = nn.Conv(3, 2, connections=[[1], [2, 0], [2, 1, 0]])
    assert gc.trace(turned, types, name="net") is by_numbers


def test_weights_are_packed_by_output_map_then_input_map(backend: str) -> None:
    x = RNG.standard_normal((1, 3, 4, 4)).astype(np.float32)
    w = np.array([1, 2, 3, 4, 5, 6], np.float32).reshape(6, 1, 1)
    found = run(nn.Conv(3, 1, bias=False, connections=SOME), x, backend, weight=w)
    expected = [x[0, 1], 2 * x[0, 0] + 3 * x[0, 2], 4 * x[0, 0] + 5 * x[0, 1] + 6 * x[0, 2]]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-6)


def test_a_full_table_is_a_full_convolution(backend: str) -> None:
    x = RNG.standard_normal((2, 3, 6, 6)).astype(np.float32)
    w, b = (RNG.standard_normal(s).astype(np.float32) for s in ((4, 3, 3, 3), (4,)))
    full = run(nn.Conv(4, 3), x, backend, weight=w, bias=b)
    table = nn.Conv(4, 3, connections=("XXXX",) * 3)
    packed = run(table, x, backend, weight=w.reshape(12, 3, 3), bias=b)
    np.testing.assert_array_equal(packed, full)


def test_an_output_map_depends_on_its_input_maps_and_on_no_other(backend: str) -> None:
    x = RNG.standard_normal((1, 3, 4, 4)).astype(np.float32)
    held = {"weight": np.ones((6, 3, 3), np.float32), "bias": np.zeros(3, np.float32)}
    layer = nn.Conv(3, 3, connections=SOME)
    before = run(layer, x, backend, **held)
    for channel in range(3):
        other = x.copy()
        other[:, channel] += 1
        changed = (run(layer, other, backend, **held) != before).any(axis=(0, 2, 3))
        assert changed.tolist() == [channel in inputs for inputs in SOME]


def test_a_table_has_gradients_of_both_orders() -> None:
    layer = nn.Conv(3, 2, stride=2, padding=1, connections=SOME, flip=True)

    def squared(x: Any, w: Any) -> Any:
        y = layer.connections.spread(w, 3)
        return nn.conv2d(x, y, stride=2, padding=1) ** 2.0

    x, w = RNG.standard_normal((2, 3, 4, 4)), RNG.standard_normal((6, 2, 2))
    assert gc.testing.check_grads(squared, (x, w)).worst < 1e-4


def test_connected_weights_and_biases_are_drawn_by_the_connections_each_map_has() -> None:
    table = [[0]] * 40 + [list(range(100))] * 40
    values = drawn(nn.Conv(80, 5, connections=table), "f32[N,100,8,8]")
    for maps, connections, fan_in in (
        (slice(0, 40), slice(0, 40), 25),
        (slice(40, 80), slice(40, 4040), 2500),
    ):
        limit = 1 / math.sqrt(fan_in)
        for found in (values["weight"][connections], values["bias"][maps]):
            assert 0.9 * limit < np.abs(found).max() <= limit
    he = nn.Conv(80, 5, connections=table, weight_initializer=nn.initializers.he_normal())
    packed = drawn(he, "f32[N,100,8,8]")["weight"]
    assert abs(packed[:40].std() / math.sqrt(2 / 25) - 1) < 0.1
    assert abs(packed[40:].std() / math.sqrt(2 / 2500) - 1) < 0.1


# -- transposed convolution ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "weight", "output"),
    [
        (nn.ConvTranspose(6, 3), (4, 6, 3, 3), (6, 11, 9)),
        (nn.ConvTranspose(6, 3, padding="valid"), (4, 6, 3, 3), (6, 11, 9)),
        (nn.ConvTranspose(6, 2, stride=2), (4, 6, 2, 2), (6, 18, 14)),
        (nn.ConvTranspose(6, 3, stride=2, padding=1), (4, 6, 3, 3), (6, 17, 13)),
        (nn.ConvTranspose(6, 3, 2, 1, output_padding=1), (4, 6, 3, 3), (6, 18, 14)),
        (nn.ConvTranspose(6, (5, 1), stride=(1, 3)), (4, 6, 5, 1), (6, 13, 19)),
        (nn.ConvTranspose(6, 3, dilation=2, groups=2), (4, 3, 3, 3), (6, 13, 11)),
        (nn.ConvTranspose(6, 3, padding=(0, 1, 2, 0)), (4, 6, 3, 3), (6, 10, 7)),
        (nn.ConvTranspose(256, 16, stride=8, padding=4), (4, 256, 16, 16), (256, 72, 56)),
    ],
    ids=repr,
)
def test_a_transposed_convolution_undoes_the_size(layer, weight, output) -> None:
    assert shapes(layer, "f32[N,4,9,7]") == {"weight": weight, "bias": output[:1]}
    assert output_shape(layer, "f32[N,4,9,7]") == output


def test_a_transposed_convolution_is_the_transpose(backend: str) -> None:
    """<conv(x), y> = <x, transposed(y)> for the same weight, which both read alike."""
    x, y = RNG.standard_normal((2, 3, 7, 8)), RNG.standard_normal((2, 5, 3, 4))
    w = RNG.standard_normal((5, 3, 3, 3))
    forward = run(nn.Conv(5, 3, 2, bias=False), x[:, :, :, :], backend, weight=w)
    back = run(nn.ConvTranspose(3, 3, 2, output_padding=(0, 0), bias=False), y, backend, weight=w)
    assert forward.shape == (2, 5, 3, 3)
    forward = run(nn.Conv(5, 3, 2, (0, 0, 0, 1), bias=False), x, backend, weight=w)
    assert forward.shape == y.shape and back.shape == (2, 3, 7, 9)
    np.testing.assert_allclose((forward * y).sum(), (x * back[..., :8]).sum(), rtol=1e-12)


def test_a_transposed_convolution_is_drawn_as_pytorch_draws_it() -> None:
    """PyTorch takes the weight's second axis for its inputs: 25 * 6, not 25 * 64."""
    values = drawn(nn.ConvTranspose(6, 5), "f32[N,64,4,4]")
    limit = 1 / math.sqrt(6 * 25)
    assert 0.99 * limit < np.abs(values["weight"]).max() <= limit
    assert np.abs(values["bias"]).max() <= limit


# -- locally connected -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "weight", "output"),
    [
        (nn.LocallyConnected(5, 3), (7, 5, 5, 4, 3, 3), (5, 7, 5)),
        (nn.LocallyConnected(5, 3, stride=2), (4, 3, 5, 4, 3, 3), (5, 4, 3)),
        (nn.LocallyConnected(5, (2, 3), padding=1), (10, 7, 5, 4, 2, 3), (5, 10, 7)),
        (nn.LocallyConnected(5, 3, padding="valid", block=2), (4, 3, 5, 4, 3, 3), (5, 7, 5)),
        (nn.LocallyConnected(5, 3, block=(7, 1)), (1, 5, 5, 4, 3, 3), (5, 7, 5)),
    ],
    ids=repr,
)
def test_weights_for_each_block_of_positions(layer, weight, output) -> None:
    bias = (weight[2], *weight[:2])
    assert shapes(layer, "f32[N,4,9,7]") == {"weight": weight, "bias": bias}
    assert output_shape(layer, "f32[N,4,9,7]") == output


@pytest.mark.parametrize("block", [1, 2, (3, 4)])
def test_the_same_weights_everywhere_make_a_convolution(block, backend: str) -> None:
    x, w, b = (RNG.standard_normal(s) for s in ((3, 2, 7, 8), (4, 2, 3, 3), (4,)))
    conv = run(nn.Conv(4, 3, stride=(2, 1), padding=1), x, backend, weight=w, bias=b)
    layer = nn.LocallyConnected(4, 3, stride=(2, 1), padding=1, block=block)
    places = shapes(layer, "f32[N,2,7,8]")["weight"][:2]
    held = {
        "weight": np.broadcast_to(w, (*places, *w.shape)).copy(),
        "bias": np.broadcast_to(b[:, None, None], (4, *places)).copy(),
    }
    np.testing.assert_allclose(run(layer, x, backend, **held), conv, rtol=1e-12, atol=1e-12)


def test_each_place_is_drawn_for_itself_with_the_fan_of_one_window() -> None:
    values = drawn(nn.LocallyConnected(4, 5), "f32[N,3,12,12]")
    limit = 1 / math.sqrt(75)
    for found in values.values():
        assert 0.95 * limit < np.abs(found).max() <= limit
    assert len(np.unique(values["weight"])) > 0.99 * values["weight"].size
    he = nn.LocallyConnected(4, 5, weight_initializer=nn.initializers.he_normal())
    assert abs(drawn(he, "f32[N,3,12,12]")["weight"].std() / math.sqrt(2 / 75) - 1) < 0.05


def test_a_locally_connected_layer_trains() -> None:
    """It learns a mask, another weight at every pixel, which no convolution can."""
    mask = RNG.standard_normal((1, 5, 5)).astype(np.float32)
    x = RNG.standard_normal((64, 1, 5, 5)).astype(np.float32)
    net = nn.LocallyConnected(1, 1)
    model = gc.Model(net, "f32[N,1,5,5]", loss="mse", optimizer=gc.optim.SGD(1.0))
    for _ in range(200):
        loss = model.step(x, x * mask)
    assert loss < 1e-3
    np.testing.assert_allclose(model.params["weight"][:, :, 0, 0, 0, 0], mask[0], atol=0.1)


# -- what is refused -------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    (lambda: nn.Conv(6, 5, flip=1), "Conv: flip 1 is neither True nor False"),
    (lambda: nn.Conv(2, 3, connections=("XX", "X")), "row 1, 'X', is not 2 letters X or ."),
    (lambda: nn.Conv(2, 3, connections=("XO",)), "row 0, 'XO'"),
    (lambda: nn.Conv(2, 3, connections=("X.",)), "output map 1 reads no input map"),
    (lambda: nn.Conv(3, 3, connections=("XX",)), "the table is of 2 output maps"),
    (lambda: nn.Conv(1, 3, connections=[[0, 0]]), "output map 0 reads (0, 0), one twice"),
    (lambda: nn.Conv(1, 3, connections=[[-1]]), "output map 0 reads (-1,), not numbers of maps"),
    (lambda: nn.Conv(1, 3, connections=[0]), "what output map 0 reads is 0"),
    (lambda: nn.Conv(1, 3, connections=()), "() is no table"),
    (lambda: nn.Conv(1, 3, connections=3), "3 is no table"),
    (lambda: nn.Conv(2, 3, groups=2, connections=("XX",)), "connections together with 2 groups"),
    (lambda: nn.ConvTranspose(0, 3), "ConvTranspose: features 0"),
    (lambda: nn.ConvTranspose(4, 3, padding="same"), "ConvTranspose: padding 'same'"),
    (lambda: nn.ConvTranspose(4, 3, output_padding=1), "output_padding 1 is not below the stride"),
    (lambda: nn.ConvTranspose(4, 3, 2, output_padding=-1), "output_padding -1"),
    (lambda: nn.ConvTranspose(4, 3, groups=3), "4 features do not divide into 3 groups"),
    (lambda: nn.LocallyConnected(4, 3, block=0), "LocallyConnected: block 0"),
    (lambda: nn.LocallyConnected(4, 0), "LocallyConnected: kernel 0"),
    (lambda: nn.LocallyConnected(4, 3, padding="same"), "LocallyConnected: padding 'same'"),
    (lambda: nn.LocallyConnected(4, 3, bias_initializer=0), "is not an initialiser"),
]


@pytest.mark.parametrize(("construct", "message"), BAD_ARGUMENTS, ids=[m for _, m in BAD_ARGUMENTS])
def test_bad_arguments_are_refused_by_the_constructor(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.remedy
    assert caught.value.location.file == __file__


BAD_INPUTS = [
    (nn.Conv(16, 3, connections=nn.LENET5_CONNECTIONS), "f32[N,5,8,8]",
     "the input has 5 channels, the table of connections 6"),
    (nn.Conv(3, 3, connections=SOME), "f32[N,2,8,8]",
     "the input has 2 channels, the table of connections at least 3"),
    (nn.Conv(3, 3, connections=SOME), "f32[N,3,2,2]", "window 3 does not fit size 2"),
    (nn.Conv(3, 3), "f32[1,3,8,N]", "axis 3 of the input f32[1,3,8,N] is the batch"),
    (nn.ConvTranspose(4, 3), "f32[N,3]", "ConvTranspose: the input f32[N,3] has 2 axes, not 4"),
    (nn.ConvTranspose(4, 3, groups=2), "f32[N,3,8,8]", "3 input channels do not divide into 2"),
    (nn.ConvTranspose(4, 3, padding=3), "f32[N,3,4,2]",
     "nothing is left of size 4: (4 - 1)*1 + 3 - 6 + 0 = 0"),
    (nn.LocallyConnected(4, 3), "f32[N,3]", "LocallyConnected: the input f32[N,3] has 2 axes"),
    (nn.LocallyConnected(4, 3), "i32[N,3,8,8]", "not of a float dtype"),
    (nn.LocallyConnected(4, 5), "f32[N,3,3,8]", "LocallyConnected: window 5 does not fit size 3"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "type", "message"), BAD_INPUTS, ids=[m for *_, m in BAD_INPUTS])
def test_inputs_that_do_not_fit_are_refused(layer, type: str, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        gc.trace(layer, type)
    assert message in caught.value.what
    assert caught.value.node
    assert caught.value.remedy
    assert caught.value.location.file == __file__


def test_reprs_are_what_a_user_would_write() -> None:
    layers = {
        "Conv(6, 5, flip=True)": nn.Conv(6, 5, flip=True),
        "Conv(3, 2, connections=((1,), (0, 2), (0, 1, 2)))": nn.Conv(3, 2, connections=SOME),
        "ConvTranspose(6, 3, stride=2, padding=1, output_padding=1)": nn.ConvTranspose(
            6, 3, 2, 1, 1
        ),
        "LocallyConnected(4, 3, block=2)": nn.LocallyConnected(4, 3, block=2),
    }
    assert [repr(layer) for layer in layers.values()] == list(layers)


def test_defaults_are_the_documented_ones() -> None:
    def defaults(layer: Any) -> dict[str, Any]:
        found = inspect.signature(layer).parameters.values()
        return {p.name: p.default for p in found if p.default not in (p.empty, None)}

    window = {"stride": 1, "padding": 0}
    assert defaults(nn.Conv) == window | {
        "dilation": 1, "groups": 1, "bias": True, "flip": False,
    }  # fmt: skip
    assert defaults(nn.ConvTranspose) == window | {
        "output_padding": 0, "dilation": 1, "groups": 1, "bias": True,
    }  # fmt: skip
    assert defaults(nn.LocallyConnected) == window | {"bias": True, "block": 1}
