"""Greedy training of deep networks, one level after the other, each on what those below it compute.

Autoencoders for what has no labels (`pretrain`), pairs for what can be compared (`pretrain_pairs`).
What a level has learned is not touched again: the next one sees only its output. Knows layers and
models, and nothing of optimisation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers
from graphc.base.errors import GraphcError
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Owner
from graphc.train.fit import Augment
from graphc.train.history import History
from graphc.train.losses import Loss
from graphc.train.model import Model
from graphc.train.optim import Adam, Optimizer
from graphc.train.pairs import pairs
from graphc_nn.dense import Dense, TiedDense
from graphc_nn.module import Module, Sequential, owners
from graphc_nn.siamese import Siamese

Array = np.ndarray[Any, Any]
Part = Callable[[Tensor], Tensor]
DECODER = "decoder"


@dataclass(frozen=True)
class Pretraining:
    """How each level is trained; see `gc.Model` and `Model.fit`."""

    optimizer: Optimizer = field(default_factory=partial(Adam, 1e-3))
    epochs: int = 10
    batch_size: int = 64
    seed: int = 0
    backend: str = "llvm"
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What greedy training found.

    params: arrays by the names they have in the network, for ``model.load_params(params,
    strict=False)``. histories: of the levels' trainings, in order.
    """

    params: dict[str, Array]
    histories: tuple[History, ...]


def pretrain(
    net: Sequential | Mapping[str, Part],
    x: Any,
    training: Pretraining | None = None,
    *,
    levels: int | None = None,
    noise: Augment | None = None,
    penalty: Part | None = None,
    tied: bool = False,
    output: Part | None = None,
    loss: str | Loss = "mse",
) -> Pretrained:
    """Trains each level of `net` as the encoder of an autoencoder on the codes of the level below.

    net: a classifier, `Sequential`, in which every Dense but the last begins a level (what stands
    before the first has no parameters); or the levels themselves by name, in order. x: samples
    without labels. training: by default `Pretraining()`. levels: how many, from the first on; all
    by default. noise: ``noise(x, generator)``, what an autoencoder sees instead of what it has to
    give back (denoising), such as `gc.data.MaskingNoise`. penalty: a layer on the codes while they
    are learned, such as ``Sparsity()``. tied: the decoder has the encoder's weight, transposed.
    output: the decoder's activation, none by default; loss: of the reconstruction.

    Bengio et al., "Greedy layer-wise training of deep networks", 2006; Vincent et al., "Stacked
    denoising autoencoders", 2010. Equal seeds give equal parameters. Raises GraphcError if there is
    no level, the codes are no matrices, or a tied level has not exactly one Dense.
    """
    training = training or Pretraining()
    _check_training("pretrain", training)
    front, parts = _levels(net, levels)
    codes = as_numbers("pretrain: x", x, np.float32)
    if front:
        codes = _codes(_Chain(front), {}, codes, training)
    found: dict[str, Array] = {}
    histories = []
    for number, level in enumerate(parts):
        if codes.ndim != 2:
            raise GraphcError(
                f"pretrain: level {number} ({', '.join(level)}) sees {list(codes.shape)}, "
                "not samples [n,inputs]",
                remedy="put Flatten() first, or flatten x",
            )
        decoder = TiedDense(_dense(number, level)) if tied else Dense(codes.shape[1])
        back = [part for part in (penalty, decoder, output) if part is not None]
        autoencoder = _Chain({**level, DECODER: Sequential(*back)})
        model = _model(autoencoder, (codes,), loss, number, training)
        histories.append(_fit(model, codes, codes, training, noise))
        own = {n: a.copy() for n, a in model.params.items() if not n.startswith(f"{DECODER}.")}
        found |= own
        if number + 1 < len(parts):
            codes = _codes(_Chain(level), own, codes, training)
    return Pretrained(found, tuple(histories))


def pretrain_pairs(
    stages: Mapping[str, Part],
    head: Mapping[str, Part],
    images: Any,
    labels: Any,
    training: Pretraining | None = None,
    *,
    count: int = 2000,
    loss: str | Loss = "contrastive",
) -> Pretrained:
    """Trains each stage to tell pairs apart, under a head of its own and on frozen stages.

    stages: the levels by name, in order. head: what makes an embedding of a stage's output, under
    its name; it begins anew at each level. images: samples [n,...], or a list with samples of a
    size of its own for each level, such as larger and larger patches. labels: [n]. training: by
    default `Pretraining()`. count: of pairs at each level, drawn by `gc.data.pairs`. loss: of the
    two embeddings.

    Fan et al., "Learning deep face representation" (Pyramid CNN), 2014. The result holds the
    stages and the last level's head. Equal seeds give equal parameters. Raises GraphcError if there
    is no stage, or another number of sizes.
    """
    training = training or Pretraining()
    _check_training("pretrain_pairs", training)
    sizes = list(images) if isinstance(images, list | tuple) else [images] * len(stages)
    if not stages or len(sizes) != len(stages):
        raise GraphcError(
            f"pretrain_pairs: {len(stages)} stages for images of {len(sizes)} sizes",
            remedy="give at least one stage, and one array, or one for each stage",
        )
    found: dict[str, Array] = {}
    histories = []
    names = list(stages)
    for number, name in enumerate(names):
        lower = {n: stages[n] for n in names[:number]}
        seen = as_numbers("pretrain_pairs: images", sizes[number], np.float32)
        if lower:
            seen = _codes(_Chain(lower), found, seen, training)
        net = Siamese(_Chain({name: stages[name], **head}))
        model = _model(net, (seen, seen), loss, number, training)
        data = pairs(seen, labels, count, (training.seed, number))
        histories.append(_fit(model, data.x, data.y, training, None))
        own = {n.removeprefix("net."): array.copy() for n, array in model.params.items()}
        last = number + 1 == len(names)
        found |= {n: array for n, array in own.items() if last or n.startswith(f"{name}.")}
    return Pretrained(found, tuple(histories))


class _Chain(Module):
    """Parts of a network applied one after the other, under the names they have there."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = dict(parts)

    def children(self) -> Iterator[tuple[str, Owner]]:
        """The parts that are modules."""
        for name, part in self.parts.items():
            yield from owners(name, part)

    def __call__(self, x: Tensor) -> Tensor:
        for part in self.parts.values():
            x = part(x)
        return x


def _check_training(what: str, training: object) -> None:
    if not isinstance(training, Pretraining):
        raise GraphcError(
            f"{what}: training is {training!r}", remedy="give Pretraining(epochs=10), for example"
        )


def _levels(
    net: Sequential | Mapping[str, Part], count: int | None
) -> tuple[dict[str, Part], list[dict[str, Part]]]:
    """(what stands before the first level, the first `count` levels)."""
    if isinstance(net, Sequential):
        groups: list[dict[str, Part]] = [{}]
        for position, layer in enumerate(net):
            if isinstance(layer, Dense):
                groups.append({})
            groups[-1][str(position)] = layer
        front, found = groups[0], groups[1:-1]
    elif isinstance(net, Mapping):
        front, found = {}, [{name: part} for name, part in net.items()]
    else:
        raise GraphcError(
            f"pretrain: {net!r} has no levels", remedy="give a Sequential, or the levels by name"
        )
    wanted = len(found) if count is None else count
    if wanted not in range(1, len(found) + 1):
        raise GraphcError(
            f"pretrain: {wanted} levels of a network that has {len(found)}",
            remedy="give a Sequential with two Dense layers at least, or the levels by name; "
            "and levels from 1 to their number",
        )
    return front, found[:wanted]


def _dense(number: int, level: Mapping[str, Part]) -> Dense:
    """The Dense whose weight a tied decoder shares."""
    stack: list[object] = list(level.values())
    found = []
    while stack:
        part = stack.pop()
        if isinstance(part, Dense):
            found.append(part)
        if isinstance(part, Owner):
            stack.extend(child for _, child in part.children())
    if len(found) != 1:
        raise GraphcError(
            f"pretrain: level {number} ({', '.join(level)}) has {len(found)} Dense layers, "
            "and a tied decoder shares the weight of one",
            remedy="give levels of one Dense each, or tied=False",
        )
    return found[0]


def _model(
    net: Callable[..., Any],
    seen: Sequence[Array],
    loss: str | Loss,
    number: int,
    training: Pretraining,
) -> Model:
    """A model of level `number` for samples like those `seen`, one array an input."""
    return Model(
        net,
        tuple(_type(array) for array in seen),
        loss=loss,
        optimizer=training.optimizer,
        backend=training.backend,
        seed=int(np.random.default_rng((training.seed, number)).integers(2**31)),
        threads=training.threads,
    )


def _fit(model: Model, x: Any, y: Any, training: Pretraining, noise: Augment | None) -> History:
    return model.fit(
        (x, y),
        epochs=training.epochs,
        batch_size=training.batch_size,
        progress=None,
        augment=noise,
    )


def _codes(net: _Chain, params: Mapping[str, Array], x: Array, training: Pretraining) -> Array:
    """What trained parts make of x."""
    model = Model(net, _type(x), backend=training.backend, threads=training.threads)
    unknown = model.params.keys() - params.keys()
    if unknown:
        raise GraphcError(
            f"pretrain: {', '.join(sorted(unknown))} come before the first level, "
            "and nothing trains them",
            remedy="compute what they give first, or give the levels by name",
        )
    if model.params:
        model.load_params({name: params[name] for name in model.params})
    return np.asarray(model.predict(x))


def _type(x: Array) -> str:
    return f"f32[{','.join(['N', *map(str, x.shape[1:])])}]"
