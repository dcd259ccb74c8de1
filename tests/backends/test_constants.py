"""What depends on parameters alone is computed once, and again whenever they may have changed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.ops.interpret import interpret
from graphc.passes.constants import PREFIX, Constants, WithoutConstants
from graphc.passes.pipelines import SMALL

TYPE = "f32[N,16,6,6]"


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv(32, 3, padding=1),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.Conv(16, 1),
        nn.Flatten(),
        nn.Dense(4),
    )


def model() -> gc.Model:
    return gc.Model(network(), TYPE, loss="cross_entropy", optimizer=optim.SGD(0.1), backend="llvm")


def images(n: int = 3) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 16, 6, 6)).astype("f")


def expected(trained: gc.Model, x: np.ndarray) -> np.ndarray:
    """The prediction of the oracle, from the model's arrays as they are."""
    held = trained._engine.arrays
    graph = trained.graphs["forward"]
    names = [i.attrs["name"] for i in graph.inputs if i.attrs["kind"] != "data"]
    data = next(i.attrs["name"] for i in graph.inputs if i.attrs["kind"] == "data")
    return interpret(graph, {data: x} | {name: held[name] for name in names})[0]


def is_right(trained: gc.Model, x: np.ndarray) -> bool:
    return bool(np.allclose(trained.predict(x), expected(trained, x), atol=1e-5))


def test_the_two_halves_make_the_whole():
    graph = gc.trace(network(), TYPE, training=False)
    lowered = SMALL(graph)
    constants, rest = Constants().run(lowered), WithoutConstants().run(lowered)
    rng = np.random.default_rng(0)
    given = {
        i.attrs["name"]: rng.uniform(0.5, 1.5, i.tensor.concrete(2)).astype("f")
        for i in graph.inputs
    }
    held = {i.attrs["name"]: given[i.attrs["name"]] for i in constants.inputs}
    computed = interpret(constants, held, 2)
    more = {f"{PREFIX}{k}": value for k, value in enumerate(computed)}
    found, whole = interpret(rest, given | more), interpret(graph, given)
    np.testing.assert_allclose(found[0], whole[0], rtol=1e-5, atol=1e-5)
    assert not any(n.op.name == "relayout" and n.inputs[0] in rest.inputs[1:] for n in rest.nodes)


def test_a_training_step_has_no_constants():
    lowered = SMALL(model().graphs["train"])
    assert Constants().run(lowered) is lowered
    assert WithoutConstants().run(lowered) is lowered


def test_predictions_follow_training_and_loading():
    trained, x = model(), images()
    assert is_right(trained, x)
    for _ in range(2):
        trained.step(x, [0, 1, 2])
        assert is_right(trained, x)
    other = gc.Model(network(), TYPE, backend="llvm", seed=5)
    assert is_right(other, x)
    other.load_params(trained.params)
    # Whoever was looked at sums the features of the dense layer in another order.
    np.testing.assert_allclose(other.predict(x), trained.predict(x), rtol=1e-5, atol=1e-6)


def test_predictions_follow_what_is_written_into_the_arrays():
    trained, x = model(), images()
    before = trained.predict(x)
    weights = trained.params["0.weight"]
    trained.predict(x)
    weights *= 2
    assert not np.array_equal(trained.predict(x), before)
    assert is_right(trained, x)


def test_other_parameters_in_between_do_no_harm():
    trained, x = model(), images()
    before = trained.predict(x)
    run = trained.executable("forward")
    own = {i.attrs["name"]: trained._engine.arrays[i.attrs["name"]] for i in run.graph.inputs[1:]}
    run(x, **{name: array * 3 for name, array in own.items()})
    assert np.array_equal(trained.predict(x), before)


@pytest.mark.parametrize("n", [1, 17])
def test_every_batch_size_has_what_it_needs(n: int):
    trained = model()
    trained.predict(images(3))
    assert is_right(trained, images(n))


def test_the_best_weights_of_early_stopping_are_predicted_with():
    trained, x = model(), images(24)
    y = np.arange(24) % 4
    trained.predict(x)
    trained.fit(
        (x, y), epochs=4, batch_size=8, validation=(x, y), progress=None,
        early_stopping=gc.EarlyStopping(patience=1),
    )  # fmt: skip
    assert is_right(trained, x)


def test_a_session_is_not_taken_for_an_earlier_one():
    trained, x = model(), images()
    run = trained.executable("forward")
    own = {i.attrs["name"]: trained._engine.arrays[i.attrs["name"]] for i in run.graph.inputs[1:]}
    found = []
    for factor in (1, 2, 3, 4):  # each session is gone when the next one begins
        held = {name: array * np.float32(factor) for name, array in own.items()}
        found.append(run.bind(held, lambda: 0)(x)[0])
    assert not any(np.array_equal(a, b) for a, b in itertools.pairwise(found))
