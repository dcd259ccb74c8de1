"""Data sets in arrays and the digits that ship with graphc."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

import graphc as gc
from graphc import data
from graphc.train.recipes import RECIPES

X, Y = np.arange(20).reshape(10, 2), np.arange(10)


def test_batches_in_order_and_ragged_at_the_end() -> None:
    batches = list(data.Dataset(X, Y).batches(4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), Y)


def test_a_seed_shuffles_pairs_together_and_repeats() -> None:
    dataset = data.Dataset(X, Y)
    shuffled = [np.concatenate([y for _, y in dataset.batches(3, seed)]) for seed in (1, 1, 2)]
    assert (shuffled[0] == shuffled[1]).all() and (shuffled[0] != shuffled[2]).any()
    assert sorted(shuffled[0]) == list(Y) and list(shuffled[0]) != list(Y)
    for x, y in dataset.batches(3, 1):
        np.testing.assert_array_equal(x, X[y])


@pytest.mark.parametrize("first", [7, 0.7])
def test_split(first: float) -> None:
    parts = data.Dataset(X, Y).split(first)
    assert [len(p) for p in parts] == [7, 3]
    shuffled = data.Dataset(X, Y).split(first, seed=3)
    assert sorted(np.concatenate([p.y for p in shuffled])) == list(Y)
    assert list(shuffled[0].y) != list(parts[0].y)


@pytest.mark.parametrize(
    "construct",
    [
        lambda: data.Dataset(X, Y[:3]),
        lambda: data.Dataset(X[:0], Y[:0]),
        lambda: data.Dataset(1.0, 2.0),
        lambda: data.Dataset(X, Y).split(10),
        lambda: data.Dataset(X, Y).split(0.0),
        lambda: list(data.Dataset(X, Y).batches(0)),
        lambda: data.standardise(np.empty((0, 3))),
        lambda: data.standardise(np.array(["a"])),
        lambda: data.digits(0),
        lambda: data.digits(4, size=31),
    ],
)
def test_bad_arguments(construct) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert caught.value.remedy


def test_standardise_uses_the_training_part_alone() -> None:
    generator = np.random.default_rng(0)
    train, test = generator.normal(5, 3, (200, 3, 4, 4)), generator.normal(7, 3, (50, 3, 4, 4))
    a, b = data.standardise(train, test)
    assert a.dtype == np.float32
    assert abs(a.mean()) < 1e-5 and abs(a.std() - 1) < 1e-5
    np.testing.assert_allclose(b, (test - train.mean()) / train.std(), rtol=1e-4, atol=1e-5)
    per_channel = data.standardise(train, axes=(0, 2, 3))[0]
    np.testing.assert_allclose(per_channel.mean((0, 2, 3)), 0, atol=1e-5)
    assert (data.standardise(np.full(4, 3.0))[0] == 0).all()


def test_digits_are_the_real_ones() -> None:
    train, test = data.digits()
    assert (len(train), len(test)) == (1437, 360)
    assert train.x.shape == (1437, 1, 32, 32) and train.x.dtype == np.float32
    assert train.y.dtype == np.int32
    assert abs(train.x.mean()) < 1e-4 and abs(train.x.std() - 1) < 1e-4
    counts = np.bincount(test.y)
    assert counts.min() >= 35 and counts.max() <= 37
    both = np.concatenate([train.y, test.y])
    assert np.bincount(both).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    again = data.digits()[0]
    assert (again.x == train.x).all()


def test_digits_are_upsampled_padded_and_repeated() -> None:
    plain = data.digits(1)[0].x
    assert plain.shape == (1437, 1, 8, 8)
    large = data.digits(2, size=19, channels=3)[0].x
    assert large.shape == (1437, 3, 19, 19)
    assert (large[:, 0] == large[:, 2]).all()
    inner = large[:, :1, 1:17, 1:17]
    assert (inner[..., ::2, ::2] == inner[..., 1::2, 1::2]).all()
    assert len(np.unique(inner[0])) == len(np.unique(plain[0]))


def test_the_licence_lies_beside_the_digits() -> None:
    folder = files("graphc.train.digits")
    text = folder.joinpath("LICENSE.txt").read_text()
    assert "Alpaydin" in text and "Kaynak" in text and "CC BY" in text
    assert len(folder.joinpath("digits.npz").read_bytes()) < 50_000


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_fit_their_networks(name: str) -> None:
    network = gc.zoo.NETWORKS[name]
    recipe = RECIPES[name]
    train, _ = recipe.data()
    model = gc.Model(
        network.build(), network.input_type, "cross_entropy", recipe.optimizer, backend="numpy"
    )
    losses = [model.step(train.x[:8], train.y[:8]) for _ in range(4)]
    assert min(losses[1:]) < losses[0]
