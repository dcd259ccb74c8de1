"""Modules: what owns layers and parameters, and how they are named.

A network of one's own is plain Python: layers are attributes (or sit in lists, tuples and
dictionaries that are), ``__call__`` computes on traced tensors, and no base constructor needs to be
called. Names follow attributes: "conv.weight", "blocks.1.weight". This file knows no layer.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Self, overload

from graphc.base.errors import GraphcError
from graphc.base.source import Location, user_location
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Owner, inside

LONGEST_NAME = 60


class Module(Owner):
    """A part of a network: subclass it, keep layers as attributes, implement ``__call__``.

    location: the user's line on which the module was constructed.
    """

    location: Location | None

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        module = super().__new__(cls)
        module.location = user_location()
        return module

    def children(self) -> Iterator[tuple[str, Owner]]:
        """Every module among the attributes, in their order, with its name."""
        for name, value in vars(self).items():
            yield from owners(name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Layer(Module):
    """A built-in layer: a module that takes one traced tensor.

    What it builds, and what it complains about, is said to be written where the layer was.
    """

    def __call__(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor):
            raise GraphcError(
                f"{self!r} was called on a {type(x).__name__}, not on a traced tensor",
                node=short(self),
                remedy="give arrays to gc.Model(network, ...).predict or to a compiled graph",
            )
        with inside(self, self.location):
            try:
                return self.apply(x)
            except GraphcError as error:
                error.node = error.node or short(self)
                raise

    @abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """The layer's output for the traced `x`."""


class Sequential(Module):
    """Layers (modules, or functions of one tensor) applied one after the other.

    Their names are "0", "1", ... Raises GraphcError if one cannot be called on a tensor; an error
    inside a layer says which it is.
    """

    def __init__(self, *layers: Callable[[Tensor], Tensor]) -> None:
        self.layers = layers_of("Sequential", layers)

    def children(self) -> Iterator[tuple[str, Owner]]:
        """The layers that are modules, named by their position."""
        for position, layer in enumerate(self.layers):
            yield from owners(str(position), layer)

    def __call__(self, x: Tensor) -> Tensor:
        for position, layer in enumerate(self.layers):
            try:
                x = layer(x)
            except GraphcError as error:
                raise error.within(f"layer {position} ({short(layer)})") from error.__cause__
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Callable[[Tensor], Tensor]]:
        return iter(self.layers)

    @overload
    def __getitem__(self, position: int) -> Callable[[Tensor], Tensor]: ...

    @overload
    def __getitem__(self, position: slice) -> Sequential: ...

    def __getitem__(self, position: int | slice) -> Callable[[Tensor], Tensor]:
        """A layer, or a part of the network: ``net[:4]`` shares its layers."""
        if isinstance(position, slice):
            return Sequential(*self.layers[position])
        return self.layers[position]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(short, self.layers))})"


def owners(name: str, value: object) -> Iterator[tuple[str, Owner]]:
    """The modules in an attribute, each with its dotted name."""
    if isinstance(value, Owner):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from owners(f"{name}.{key}", item)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from owners(f"{name}.{position}", item)


def layers_of(
    container: str, layers: tuple[Callable[[Tensor], Tensor], ...]
) -> tuple[Callable[[Tensor], Tensor], ...]:
    """`layers` if each can be called on a tensor. Raises GraphcError if not."""
    for position, layer in enumerate(layers):
        if isinstance(layer, type):
            raise GraphcError(
                f"{container}: layer {position} is the class {layer.__name__}",
                remedy=f"construct it: {layer.__name__}(...)",
            )
        if not callable(layer):
            raise GraphcError(
                f"{container}: layer {position} is {layer!r}, not a layer",
                remedy="give layers, or functions of a traced tensor",
            )
    return layers


def short(layer: object) -> str:
    """A layer or a function as an error shows it, cut if it is long."""
    text = repr(layer) if isinstance(layer, Module) else getattr(layer, "__name__", repr(layer))
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 3]}..."
