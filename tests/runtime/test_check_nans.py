"""check_nans: a result that is not finite names the node where that begins, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import nn, optim
from graphc.base.errors import GraphcError
from graphc.runtime.backend import Runner
from graphc.runtime.check_nans import NanCheck

X = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
Y = np.arange(6) % 3


class Logarithm(nn.Module):
    """Takes the logarithm of what a ReLU has cut off."""

    def __init__(self) -> None:
        self.first, self.last = nn.Dense(4), nn.Dense(3)

    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        return self.last(nn.log(nn.relu(self.first(x))))


LINE = Logarithm.__call__.__code__.co_firstlineno + 1


def model(net: nn.Module, backend: str, **options: Any) -> gc.Model:
    return gc.Model(
        net, "f32[N,5]", loss="cross_entropy", optimizer=optim.SGD(0.1), backend=backend, **options
    )


USES: dict[str, Callable[[gc.Model], Any]] = {
    "step": lambda m: m.step(X, Y),
    "fit": lambda m: m.fit((X, Y), epochs=1, progress=None),
    "predict": lambda m: m.predict(X),
    "evaluate": lambda m: m.evaluate(X, Y),
}


@pytest.mark.parametrize("use", USES)
def test_the_first_node_the_users_line_and_the_range_are_named(use: str, backend: str) -> None:
    with pytest.raises(GraphcError) as caught:
        USES[use](model(Logarithm(), backend, check_nans=True))
    error = caught.value
    assert error.what.startswith("log gives -inf at [0, ")
    assert "nothing before it did; %relu is in [0, 1.2" in error.what
    assert error.node is not None and error.node.startswith("%log = log(%relu) : f32[N,4]")
    assert error.location is not None
    assert (error.location.file, error.location.line) == (__file__, LINE)


def test_without_it_the_loss_alone_is_named(backend: str) -> None:
    with pytest.raises(GraphcError, match="the loss is nan at step 1"):
        model(Logarithm(), backend).step(X, Y)


def test_finite_results_are_the_same_bits(backend: str) -> None:
    checked, plain = (
        model(nn.Sequential(nn.Dense(3)), backend, check_nans=on) for on in (True, False)
    )
    assert [checked.step(X, Y) for _ in range(3)] == [plain.step(X, Y) for _ in range(3)]
    assert np.array_equal(checked.predict(X), plain.predict(X))


def test_a_gradient_is_named_as_one_and_nothing_has_changed(backend: str) -> None:
    net = nn.Sequential(nn.Dense(3, bias=False), lambda x: (x * x) ** 0.5)
    found = model(net, backend, check_nans=True)
    found.load_params({"0.weight": np.zeros((3, 5), np.float32)})
    with pytest.raises(GraphcError, match="power, gradient of power, gives inf at") as caught:
        found.step(X, Y)
    assert caught.value.location is not None and caught.value.location.file == __file__
    assert not found.params["0.weight"].any()


def test_what_is_fed_and_what_is_held_is_blamed_itself(backend: str) -> None:
    bad = X.copy()
    bad[2, 3] = np.nan
    found = model(nn.Sequential(nn.Dense(3)), backend, check_nans=True)
    with pytest.raises(GraphcError, match=r"input 'x' has nan at \[2, 3\] \(1 of 30 elements\)"):
        found.predict(bad)
    found.params["0.bias"][1] = np.inf
    with pytest.raises(GraphcError, match=r"parameter '0.bias' has inf at \[1\]"):
        found.predict(X)


def test_an_infinity_written_on_purpose_is_not_blamed(backend: str) -> None:
    def masked(x: Any, mask: Any) -> Any:
        return nn.max(nn.log(nn.where(mask, x, float("-inf"))), axes=(1,), keepdims=False)

    graph = gc.trace(masked, "f32[N,5]", "bool[N,5]")
    with pytest.raises(GraphcError, match="log gives nan") as caught:
        gc.compile(graph, backend, check_nans=True)(X, X > -1)
    assert "full" not in caught.value.what

    def largest(x: Any) -> Any:
        return nn.max(nn.where(x > 0.0, x, float("-inf")), axes=(1,), keepdims=False)

    padded = gc.trace(largest, "f32[N,5]")
    assert np.isfinite(gc.compile(padded, backend, check_nans=True)(abs(X))).all()


def test_a_backend_that_alone_is_not_finite_is_said_so() -> None:
    class Wrong(Runner):
        def run(self, inputs: Any, n: int, token: object = None) -> list[Any]:
            return [np.full((n, 5), np.nan, np.float32)]

    graph = gc.trace(lambda x: x + 1.0, "f32[N,5]")
    with pytest.raises(GraphcError, match=r"but every node of \w+ is finite in numpy"):
        NanCheck(graph, Wrong()).run([X], 6)


def test_whatever_a_runner_can_be_asked_is_handed_on_but_packing() -> None:
    public = {name for name in vars(Runner) if not name.startswith("_")}
    assert public - vars(NanCheck).keys() == {"pack", "layouts", "bring", "start", "ahead"}
