"""Losses as models use them: their names, what they refuse, and what they are worth.

Values and gradients against PyTorch are rows of tests/fixtures/torch_layers/losses.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import losses, nn, optim
from graphc.tracing.trace import current_trace

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 6)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int32) + (X[:, 1] > 0)
NUMBERS = np.stack([X[:, 0] - X[:, 2], X[:, 1], -X[:, 3]], axis=1)
SHARES = np.exp(NUMBERS) / np.exp(NUMBERS).sum(axis=1, keepdims=True)


class Heads(nn.Module):
    """Dense layers beside each other, one output each."""

    def __init__(self, *widths: int) -> None:
        self.heads = [nn.Dense(width) for width in widths]

    def __call__(self, x: Any) -> tuple[Any, ...]:
        return tuple(head(x) for head in self.heads)


class Distance(nn.Module):
    """How far the embeddings of the two halves of a sample are from each other."""

    def __init__(self) -> None:
        self.embed = nn.Dense(2)

    def __call__(self, x: Any) -> Any:
        return nn.pair_distance(self.embed(x[:, :3]), self.embed(x[:, 3:]))


class WithAuxiliary(nn.Module):
    """Three classifiers in training, the first one only in evaluation."""

    def __init__(self) -> None:
        self.heads = Heads(3, 3, 3)

    def __call__(self, x: Any) -> Any:
        outputs = self.heads(x)
        return outputs if current_trace().training else outputs[0]


def model(net: Any, loss: Any, backend: str = "numpy", rate: float = 0.2, **options) -> gc.Model:
    return gc.Model(
        net, "f32[N,6]", loss, optim.SGD(rate), backend=backend, target_type=options.get("target")
    )


SAME = (np.abs(X[:, :3] - X[:, 3:]).sum(axis=1) < 3).astype(np.int32)
USES: dict[str, tuple[Any, Any]] = {
    "cross_entropy": (nn.Dense(3), LABELS),
    "nll": (nn.Sequential(nn.Dense(3), nn.LogSoftmax()), LABELS),
    "hinge": (nn.Dense(3), LABELS),
    "binary_cross_entropy": (nn.Dense(3), SHARES),
    "mse": (nn.Dense(3), NUMBERS),
    "squared_error": (nn.Dense(3), NUMBERS),
    "smooth_l1": (nn.Dense(3), NUMBERS),
    "kl_divergence": (nn.Sequential(nn.Dense(3), nn.LogSoftmax()), SHARES),
    "contrastive": (Distance(), SAME),
    "multi_task": (Heads(3, 8), (LABELS, X[:, :4])),
}


def test_every_name_is_shown_at_work() -> None:
    assert USES.keys() == losses.NAMED.keys()


@pytest.mark.parametrize("name", USES)
def test_a_model_trains_on_every_name(name: str, backend: str) -> None:
    net, y = USES[name]
    made = model(net, name, backend)
    before = made.evaluate(X, y)
    assert made.step(X, y) == pytest.approx(before["loss"], rel=1e-4)
    for _ in range(30):
        made.step(X, y)
    after = made.evaluate(X, y)
    assert after["loss"] < 0.9 * before["loss"]
    assert ("accuracy" in after) == losses.NAMED[name].classifies


@pytest.mark.parametrize("name", USES)
def test_the_loss_of_a_batch_is_the_mean_over_its_samples(name: str) -> None:
    net, y = USES[name]
    made = model(net, name)
    several = isinstance(y, tuple)
    each = [
        made.evaluate(X[k : k + 1], tuple(t[k : k + 1] for t in y) if several else y[k : k + 1])
        for k in range(len(X))
    ]
    assert np.mean([e["loss"] for e in each]) == pytest.approx(made.evaluate(X, y)["loss"])


# -- values ----------------------------------------------------------------------------------------


def value(loss: Any, outputs: tuple[Any, ...], targets: tuple[Any, ...], backend: str) -> float:
    """The loss of given outputs: a network that hands its inputs on."""
    types = [f"{'f64' if o.dtype.kind == 'f' else 'i32'}{list(o.shape)}" for o in outputs]
    kinds = [f"{'f64' if t.dtype.kind == 'f' else 'i32'}{list(t.shape)}" for t in targets]
    found = losses.loss_from(loss, None)

    def function(*tensors: Any) -> Any:
        nodes = [t.node for t in tensors]
        node = found.build(nodes[: len(outputs)], nodes[len(outputs) :])
        return type(tensors[0])(node)

    graph = gc.trace(function, *types, *kinds)
    return float(gc.compile(graph, backend)(*outputs, *targets))


def test_binary_cross_entropy_of_huge_logits(backend: str) -> None:
    logits = np.array([[1e4, -1e4, 1e4, -1e4]])
    targets = np.array([[1.0, 0.0, 0.0, 1.0]])
    got = value("binary_cross_entropy", (logits,), (targets,), backend)
    assert got == pytest.approx(2e4 / 4)


def test_squared_error_of_the_worked_example(backend: str) -> None:
    """E = 1/2 (0.01 - 0.751365070)^2 + 1/2 (0.99 - 0.772928465)^2 = 0.298371109."""
    output, target = np.array([[0.751365070, 0.772928465]]), np.array([[0.01, 0.99]])
    got = value("squared_error", (output,), (target,), backend)
    assert got == pytest.approx(0.298371109, abs=5e-10)


def test_hinge_by_hand(backend: str) -> None:
    """Scores 3.2 5.1 -1.7 with label 0: max(0, 5.1 - 3.2 + 1) + max(0, -1.7 - 3.2 + 1) = 2.9."""
    scores, label = np.array([[3.2, 5.1, -1.7]]), np.array([0], np.int32)
    assert value("hinge", (scores,), (label,), backend) == pytest.approx(2.9 / 3)
    rest = losses.Hinge(form="one_against_rest")
    assert value(rest, (scores,), (label,), backend) == pytest.approx(6.1)
    nobody = np.array([-1], np.int32)
    assert value(rest, (scores,), (nobody,), backend) == pytest.approx(4.2 + 6.1)


def test_contrastive_is_log_2_at_the_threshold(backend: str) -> None:
    """At alpha d = beta nothing is known: log(1 + exp(0)), whichever the pair is."""
    loss = losses.Contrastive(alpha=2.0, beta=3.0)
    distances, same = np.array([1.5, 1.5]), np.array([1, 0], np.int32)
    assert value(loss, (distances,), (same,), backend) == pytest.approx(np.log(2))


def test_equal_embeddings_have_a_gradient_of_0(backend: str) -> None:
    graph = gc.trace(lambda a, b: nn.pair_distance(a, b).sum(), "f32[2,3]", "f32[2,3]")
    slopes = gc.compile(gc.grad(graph, wrt=["x0"]), backend)
    a, b = np.ones((2, 3), np.float32), np.array([[1, 1, 1], [1, 1, 0]], np.float32)
    np.testing.assert_array_equal(slopes(a, b), [[0, 0, 0], [0, 0, 1]])


def test_boxes_of_the_background_and_of_other_classes_count_nothing(backend: str) -> None:
    logits, targets = np.zeros((2, 3)), np.zeros((2, 4))
    labels = np.array([0, 2], np.int32)
    boxes = np.full((2, 8), 100.0)
    boxes[1, 4:] = [0.5, 0.5, 2.0, -2.0]
    both = np.log(3) + (0.125 + 0.125 + 1.5 + 1.5) / 2
    got = value("multi_task", (logits, boxes), (labels, targets), backend)
    assert got == pytest.approx(both)
    with_background = np.concatenate([np.full((2, 4), -7.0), boxes], axis=1)
    got = value("multi_task", (logits, with_background), (labels, targets), backend)
    assert got == pytest.approx(both)


def test_kl_divergence_of_a_distribution_from_itself_is_0(backend: str) -> None:
    shares = SHARES.astype(np.float64)
    assert abs(value("kl_divergence", (np.log(shares),), (shares,), backend)) < 1e-15


# -- several outputs -------------------------------------------------------------------------------


def test_auxiliary_outputs_count_in_training_only(backend: str) -> None:
    made = model(WithAuxiliary(), losses.Auxiliary(weights=(1.0, 0.3, 0.2)), backend)
    assert made.predict(X).shape == (24, 3)
    parts = []
    for head in range(3):
        single = model(nn.Dense(3), "cross_entropy")
        for name in ("weight", "bias"):
            single.params[name][...] = made.params[f"heads.heads.{head}.{name}"]
        parts.append(single.evaluate(X, LABELS))
    assert made.evaluate(X, LABELS) == pytest.approx(parts[0])
    together = np.dot([1.0, 0.3, 0.2], [part["loss"] for part in parts])
    assert made.step(X, LABELS) == pytest.approx(together, rel=1e-5)


def test_auxiliary_takes_probabilities_and_other_losses() -> None:
    made = model(Heads(3, 3), losses.Auxiliary(weights=(1.0, 0.5)))
    assert np.isfinite(made.step(X, SHARES))
    regression = losses.Auxiliary("mse", weights=(1.0, 0.5))
    assert not regression.classifies
    assert np.isfinite(model(Heads(3, 3), regression).step(X, NUMBERS))


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: losses.SmoothL1(beta=-0.5), "beta -0.5"),
        (lambda: losses.Hinge(margin=0.0), "margin 0.0"),
        (lambda: losses.Hinge(form="both"), "form 'both'"),
        (lambda: losses.Contrastive(alpha=-1.0), "alpha -1.0"),
        (lambda: losses.MultiTask(weight=float("nan")), "weight nan"),
        (lambda: losses.Auxiliary("nonsense"), "no loss 'nonsense'"),
        (lambda: losses.Auxiliary(weights=()), r"weights \(\)"),
        (lambda: losses.Auxiliary(weights=(1.0, -0.3)), "weight -0.3"),
        (lambda: model(nn.Dense(3), losses.SmoothL1), "no loss <class"),
        (lambda: model(Heads(3, 3), "hinge"), "has 2 outputs"),
        (lambda: model(nn.Dense(3), "multi_task"), "has 1 outputs"),
        (lambda: model(Heads(3, 7), "multi_task"), "do not fit logits"),
        (lambda: model(nn.Dense(3), "contrastive"), "outputs are f32"),
        (lambda: model(Heads(2, 3), "contrastive"), "outputs are f32"),
        (lambda: model(Heads(3, 3), losses.Auxiliary()), "2 outputs for 3 weights"),
        (lambda: model(Heads(3, 4), losses.Auxiliary("mse", (1, 1))), "differ"),
    ],
)
def test_what_does_not_fit_is_said_at_once(build: Any, complaint: str) -> None:
    with pytest.raises(gc.GraphcError, match=complaint) as caught:
        build()
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("loss", "net", "y", "complaint"),
    [
        ("nll", nn.Dense(3), LABELS + 1, "label 3 at position"),
        ("hinge", nn.Dense(3), LABELS - 1, "label -1 at position"),
        ("hinge", nn.Dense(3), NUMBERS, "labels of dtype float32"),
        ("contrastive", Distance(), LABELS, "dtype int32, such as 2, not 1, 0 and -1"),
        ("multi_task", Heads(3, 8), LABELS, "1 target for a loss of 2"),
        ("multi_task", Heads(3, 8), (LABELS, X[:, :4], X), "3 targets for a loss of 2"),
        ("multi_task", Heads(3, 8), (LABELS + 1, X[:, :4]), "label 3 at position"),
        ("mse", nn.Dense(3), X, "shape"),
    ],
)
def test_targets_that_do_not_fit(loss: str, net: Any, y: Any, complaint: str) -> None:
    with pytest.raises(gc.GraphcError, match=complaint) as caught:
        model(net, loss).step(X, y)
    assert caught.value.remedy
