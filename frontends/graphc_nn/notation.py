"""Networks written as Ciresan writes them: ``1x29x29-20C4-MP2-40C5-MP3-150N-10N``.

First the input, channels x height x width; then its layers: 20C4 is a convolution to 20 maps with
4x4 kernels, MP2 max pooling over 2x2, 150N a fully connected layer of 150 neurons. Ciresan, Meier
and Schmidhuber, "Multi-column deep neural networks for image classification", 2012.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from graphc.base.errors import GraphcError
from graphc.tracing.tensor import Tensor
from graphc_nn.activations import Tanh
from graphc_nn.convolution import Conv
from graphc_nn.dense import Dense
from graphc_nn.module import Sequential
from graphc_nn.pooling import MaxPool
from graphc_nn.structure import Flatten

Layer = Callable[[Tensor], Tensor]
NUMBER = "([1-9][0-9]{0,6})"
INPUT = re.compile(f"{NUMBER}x{NUMBER}x{NUMBER}")
CONVOLUTION = re.compile(f"{NUMBER}C{NUMBER}")
POOLING = re.compile(f"MP{NUMBER}")
NEURONS = re.compile(f"{NUMBER}N")


class Column(Sequential):
    """A network written in the notation.

    notation: the text. input_type: of the images it takes, such as "f32[N,1,29,29]".
    """

    def __init__(self, notation: str, input_type: str, *layers: Layer) -> None:
        super().__init__(*layers)
        self.notation = notation
        self.input_type = input_type


def parse(text: str, activation: Callable[[], Layer] = Tanh) -> Column:
    """The network that `text` describes, ready for ``gc.Model(net, net.input_type)``.

    activation: of each convolution and each fully connected layer but the last, whose outputs are
    logits. A pooling drops rows and columns that fill no window. Raises GraphcError, with the token
    and its position, for what is not the notation and for a window that does not fit.

    >>> net = parse("1x29x29-20C4-MP2-10N")
    >>> net
    Sequential(Conv(20, 4), Tanh(), MaxPool(2), Flatten(), Dense(10))
    >>> net.input_type
    'f32[N,1,29,29]'
    """
    first, *rest = _tokens(text)
    size = INPUT.fullmatch(first.text)
    if size is None:
        raise first.error("is no input", "begin with channels x height x width, such as 1x29x29")
    channels, height, width = map(int, size.groups())
    stack = _Stack(activation, height, width)
    for token in rest:
        stack.add(token, last=token is rest[-1])
    return Column(text, f"f32[N,{channels},{height},{width}]", *stack.layers)


@dataclass(frozen=True)
class _Token:
    """A part of the text; position: of its first character, from 1 on."""

    text: str
    position: int
    whole: str

    def error(self, problem: str, remedy: str) -> GraphcError:
        return GraphcError(
            f"{self.text!r} at character {self.position} {problem}", node=self.whole, remedy=remedy
        )


def _tokens(text: object) -> list[_Token]:
    if not isinstance(text, str):
        raise GraphcError(
            f"a network written as {text!r}", remedy='give text, such as "1x29x29-20C4-MP2-10N"'
        )
    found, position = [], 1
    for part in text.split("-"):
        found.append(_Token(part, position, text))
        position += len(part) + 1
    return found


@dataclass
class _Stack:
    """Layers so far, and the size of the maps that leave them; flat: there are neurons already."""

    activation: Callable[[], Layer]
    height: int
    width: int
    flat: bool = False
    layers: list[Layer] = field(default_factory=list)

    def add(self, token: _Token, last: bool) -> None:
        """Appends the layer that the token stands for."""
        if convolution := CONVOLUTION.fullmatch(token.text):
            maps, kernel = map(int, convolution.groups())
            self._check(token, kernel)
            self.height, self.width = self.height - kernel + 1, self.width - kernel + 1
            self.layers += [Conv(maps, kernel), self.activation()]
        elif pooling := POOLING.fullmatch(token.text):
            window = int(pooling[1])
            self._check(token, window)
            self.height, self.width = self.height // window, self.width // window
            self.layers.append(MaxPool(window))
        elif neurons := NEURONS.fullmatch(token.text):
            self.layers += [] if self.flat else [Flatten()]
            self.layers += [Dense(int(neurons[1]))] + ([] if last else [self.activation()])
            self.flat = True
        else:
            raise token.error(
                "is no layer",
                "write 20C4 (a convolution to 20 maps with 4x4 kernels), MP2 (max pooling over "
                "2x2) or 150N (150 neurons), with - between them",
            )

    def _check(self, token: _Token, window: int) -> None:
        """Raises GraphcError unless there are maps on which the window fits."""
        if self.flat:
            raise token.error("stands behind neurons", "convolve and pool before the first N layer")
        if window > min(self.height, self.width):
            raise token.error(
                f"does not fit maps of {self.height}x{self.width}",
                "use a smaller window, or a larger input",
            )
