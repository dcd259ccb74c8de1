"""Networks written in the notation of multi-column networks: what they become, and mistakes."""

from __future__ import annotations

import pytest

import graphc as gc
from graphc import nn, zoo


def test_a_network_of_the_paper_for_traffic_signs() -> None:
    net = zoo.parse("3x48x48-100C7-MP2-150C4-MP2-250C4-MP2-300N-43N")
    assert repr(net) == (
        "Sequential(Conv(100, 7), Tanh(), MaxPool(2), Conv(150, 4), Tanh(), MaxPool(2), "
        "Conv(250, 4), Tanh(), MaxPool(2), Flatten(), Dense(300), Tanh(), Dense(43))"
    )
    graph = gc.trace(net, net.input_type)
    assert (net.input_type, str(graph.outputs[0].tensor)) == ("f32[N,3,48,48]", "f32[N,43]")
    assert graph.outputs[0].inputs[0].inputs[1].inputs[0].tensor.shape == (43, 300)


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("1x8x8", []),
        ("1x8x8-4C3", ["Conv(4, 3)", "ReLU()"]),
        ("1x8x9-MP8", ["MaxPool(8)"]),
        ("2x1x1-3N", ["Flatten()", "Dense(3)"]),
        ("2x1x1-3N-2N", ["Flatten()", "Dense(3)", "ReLU()", "Dense(2)"]),
    ],
)
def test_layers_and_their_activations(text: str, layers: list[str]) -> None:
    net = zoo.parse(text, activation=nn.ReLU)
    assert [repr(layer) for layer in net] == layers
    assert net.notation == text
    gc.trace(net, net.input_type)


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("1x29x29-20C4-MQ2-10N", "'MQ2' at character 14 is no layer", "write 20C4"),
        ("1x29x29-20c4", "'20c4' at character 9 is no layer", "write 20C4"),
        ("1x29x29-0C4", "'0C4' at character 9 is no layer", "write 20C4"),
        ("1x29x29-20C4 -10N", "'20C4 ' at character 9 is no layer", "write 20C4"),
        ("1x29x29-", "'' at character 9 is no layer", "write 20C4"),
        ("29x29-20C4", "'29x29' at character 1 is no input", "channels x height x width"),
        ("", "'' at character 1 is no input", "channels x height x width"),
        ("1x29x29-20C4-MP2-40C14", "'40C14' at character 18 does not fit maps of 13x13", "smaller"),
        ("1x9x5-MP4-MP2", "'MP2' at character 11 does not fit maps of 2x1", "smaller"),
        ("1x9x9-10N-4C3", "'4C3' at character 11 stands behind neurons", "before the first N"),
        ("1x9x9-10N-MP2", "'MP2' at character 11 stands behind neurons", "before the first N"),
        (5, "a network written as 5", "give text"),
    ],
)
def test_mistakes_show_the_token_and_its_position(text: str, what: str, remedy: str) -> None:
    with pytest.raises(gc.GraphcError) as raised:
        zoo.parse(text)
    error = raised.value
    assert error.what.startswith(what)
    assert remedy in error.remedy
    assert error.location is not None and error.location.file == __file__
    assert error.node == (text if isinstance(text, str) else None)
