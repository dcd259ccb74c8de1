"""Greedy pretraining: each level learns from the codes below it, and it helps where labels are few.

Linear autoencoders have a closed form, the principal components (Baldi and Hornik, 1989).
"""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc import data, nn, optim
from graphc.train.losses import Contrastive

RNG = np.random.default_rng(0)
Pretraining, pretrain, pretrain_pairs = nn.Pretraining, nn.pretrain, nn.pretrain_pairs
SCALES = np.array([3, 2.5, 2, 1, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2])
SAMPLES = RNG.normal(size=(200, 10)) * SCALES @ np.linalg.qr(RNG.normal(size=(10, 10)))[0]
SAMPLES = (SAMPLES - SAMPLES.mean(axis=0)).astype(np.float32)
LINEAR = Pretraining(optim.SGD(0.05, momentum=0.9), epochs=600, batch_size=200, backend="numpy")
QUICK = Pretraining(epochs=2, backend="numpy")


def components(x: np.ndarray, count: int) -> np.ndarray:
    """The top principal components of centred samples, one a row."""
    return np.linalg.svd(x.astype(np.float64), full_matrices=False)[2][:count]


def largest_angle(a: np.ndarray, b: np.ndarray) -> float:
    """The largest principal angle between the spaces that rows span (Bjorck and Golub, 1973)."""
    p, q = (np.linalg.qr(rows.T.astype(np.float64))[0] for rows in (a, b))
    return float(np.arcsin(min(1.0, np.linalg.norm(p - q @ (q.T @ p), 2))))


def test_a_linear_autoencoder_finds_the_principal_subspace(backend: str) -> None:
    net = nn.Sequential(nn.Dense(3), nn.Dense(10))
    model = gc.Model(
        net, "f32[N,10]", "mse", optim.SGD(0.2, momentum=0.9), backend=backend, threads=1
    )
    before = largest_angle(model.params["0.weight"], components(SAMPLES, 3))
    model.fit((SAMPLES, SAMPLES), epochs=600, batch_size=200, progress=None)
    assert before > 0.3
    assert largest_angle(model.params["0.weight"], components(SAMPLES, 3)) < 1e-3
    assert largest_angle(model.params["1.weight"].T, components(SAMPLES, 3)) < 1e-3
    lost = np.linalg.svd(SAMPLES.astype(np.float64))[1][3:]
    assert model.evaluate(SAMPLES, SAMPLES)["loss"] == pytest.approx(
        (lost**2).sum() / SAMPLES.size, rel=1e-4
    )


def test_levels_are_principal_components_of_the_codes_below() -> None:
    """With tied weights each level's rows are orthonormal too."""
    levels = {"low": nn.Dense(5, bias=False), "high": nn.Dense(2, bias=False)}
    found = pretrain(levels, SAMPLES, LINEAR, tied=True).params
    low, high = found["low.weight"], found["high.weight"]
    np.testing.assert_allclose(low @ low.T, np.eye(5), atol=1e-3)
    np.testing.assert_allclose(high @ high.T, np.eye(2), atol=1e-3)
    assert largest_angle(low, components(SAMPLES, 5)) < 1e-3
    assert largest_angle(high, components(SAMPLES @ low.T, 2)) < 1e-3
    assert largest_angle(high @ low, components(SAMPLES, 2)) < 1e-3


def test_parameters_fit_the_classifier_and_repeat_from_the_seed() -> None:
    def net() -> nn.Sequential:
        return nn.Sequential(
            nn.Flatten(), nn.Dense(6), nn.Tanh(), nn.Dense(4), nn.Tanh(), nn.Dense(3)
        )

    images = SAMPLES.reshape(200, 2, 5)
    first, again = pretrain(net(), images, QUICK), pretrain(net(), images, QUICK)
    assert list(first.params) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert [len(history.loss) for history in first.histories] == [2, 2]
    assert all((again.params[name] == array).all() for name, array in first.params.items())
    other = pretrain(net(), images, Pretraining(epochs=2, seed=1, backend="numpy"))
    assert (other.params["1.weight"] != first.params["1.weight"]).any()
    model = gc.Model(net(), "f32[N,2,5]", backend="numpy")
    report = model.load_params(first.params, strict=False)
    assert report.missing == ("5.weight", "5.bias") and not report.unknown
    np.testing.assert_array_equal(model.params["3.weight"], first.params["3.weight"])


def test_named_levels_may_be_networks() -> None:
    stack = {
        f"encoders.{k}": nn.Sequential(nn.Dense(w), nn.Sigmoid()) for k, w in enumerate((6, 4))
    }
    found = pretrain(stack, SAMPLES, QUICK, tied=True, output=nn.tanh)
    assert list(found.params) == [
        f"encoders.{k}.0.{name}" for k in (0, 1) for name in ("weight", "bias")
    ]
    assert found.params["encoders.1.0.weight"].shape == (4, 6)


def test_only_the_encoders_of_an_unrolled_autoencoder() -> None:
    net = gc.zoo.stacked_autoencoder((6, 4), inputs=10)
    found = pretrain(net, SAMPLES, QUICK, levels=2)
    assert list(found.params) == ["1.weight", "1.bias", "3.weight", "3.bias"]
    assert found.params["3.weight"].shape == (4, 6)


def test_noise_is_on_what_is_seen_and_not_on_what_is_asked_for() -> None:
    """Where nothing is seen, the weight learns nothing and the decoder's bias learns the mean."""
    shifted = SAMPLES + 5
    level = {"0": nn.Dense(3)}
    start = pretrain(level, shifted, Pretraining(epochs=0, backend="numpy"))
    blind = pretrain(
        level,
        shifted,
        Pretraining(optim.SGD(0.5), epochs=150, batch_size=200, backend="numpy"),
        noise=lambda x, generator: 0 * x,
    )
    np.testing.assert_array_equal(blind.params["0.weight"], start.params["0.weight"])
    assert (blind.params["0.bias"] != start.params["0.bias"]).any()
    assert blind.histories[0].loss[-1] == pytest.approx(float(SAMPLES.var(axis=0).mean()), rel=0.01)


def test_a_penalty_makes_codes_sparse() -> None:
    def mean_activation(penalty) -> float:
        level = {"0": nn.Sequential(nn.Dense(6), nn.Sigmoid())}
        how = Pretraining(optim.Adam(5e-2), epochs=60, batch_size=50, backend="numpy")
        found = pretrain(level, SAMPLES, how, penalty=penalty).params
        codes = 1 / (1 + np.exp(-(SAMPLES @ found["0.0.weight"].T + found["0.0.bias"])))
        return float(codes.mean())

    assert mean_activation(nn.Sparsity(rho=0.05, weight=50.0)) == pytest.approx(0.05, abs=0.01)
    assert mean_activation(None) > 0.3


def test_with_100_labels_a_pretrained_network_beats_the_same_from_random_weights() -> None:
    """Digits, all training images without labels, 100 with; the same fine-tuning for both."""
    train, test = data.digits(1)
    x, held_out = (part.x.reshape(len(part), -1) for part in (train, test))

    def net() -> nn.Sequential:
        return nn.Sequential(nn.Dense(64), nn.Sigmoid(), nn.Dense(64), nn.Sigmoid(), nn.Dense(10))

    gains = []
    for seed in range(3):
        chosen = np.random.default_rng(seed).permutation(len(x))[:100]
        how = Pretraining(optim.Adam(5e-3), epochs=10, batch_size=50, seed=seed, backend="numpy")
        found = pretrain(net(), x, how, noise=data.MaskingNoise(0.2))
        reached = []
        for params in ({}, found.params):
            model = gc.Model(
                net(), "f32[N,64]", "cross_entropy", optim.Adam(3e-3), backend="numpy", seed=seed
            )
            if params:
                model.load_params(params, strict=False)
            model.fit((x[chosen], train.y[chosen]), epochs=80, batch_size=20, progress=None)
            assert model.evaluate(x[chosen], train.y[chosen])["accuracy"] == 1.0
            reached.append(model.evaluate(held_out, test.y)["accuracy"])
        gains.append(reached[1] - reached[0])
    assert np.mean(gains) > 0.015, gains
    assert min(gains) > 0, gains


def pyramid() -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    stages = {
        f"stages.{k}": nn.Sequential(nn.Conv(width, 3, padding=1), nn.Tanh(), nn.MaxPool(2))
        for k, width in enumerate((8, 16))
    }
    return stages, {"numbers": nn.Sequential(nn.Flatten(), nn.Dense(8))}


def test_what_a_stage_has_learned_is_not_touched_by_the_next() -> None:
    digits = data.digits(1)[0]
    x, labels = digits.x[:100], digits.y[:100]
    stages, head = pyramid()
    first = {"stages.0": stages["stages.0"]}
    patches = [x[:, :, 2:6, 2:6], x]
    both = pretrain_pairs(stages, head, patches, labels, QUICK, count=64).params
    alone = pretrain_pairs(first, head, patches[:1], labels, QUICK, count=64).params
    names = [f"stages.{k}.0.{name}" for k in (0, 1) for name in ("weight", "bias")]
    assert list(both) == [*names, "numbers.1.weight", "numbers.1.bias"]
    assert list(alone) == [*names[:2], "numbers.1.weight", "numbers.1.bias"]
    assert all((both[name] == alone[name]).all() for name in names[:2])
    assert (both["numbers.1.bias"] != alone["numbers.1.bias"]).any()


def test_a_pyramid_learns_from_pairs_to_tell_digits_apart() -> None:
    train, test = data.digits(1)
    stages, head = pyramid()
    how, loss = Pretraining(optim.Adam(3e-3), threads=1), Contrastive(alpha=4.0, beta=4.0)
    patches = [train.x[:, :, 2:6, 2:6], train.x]
    found = pretrain_pairs(stages, head, patches, train.y, how, loss=loss)
    whole = nn.Sequential(*stages.values(), *head.values())
    model = gc.Model(whole, "f32[N,1,8,8]", threads=1)
    check = data.pairs(test.x, test.y, 1000, seed=1)

    def right() -> float:
        near = np.linalg.norm(model.predict(check.x[0]) - model.predict(check.x[1]), axis=1) < 1
        return float((near == check.y).mean())

    before = right()
    model.load_params(dict(zip(model.params, found.params.values(), strict=True)))
    assert before < 0.7
    assert right() > 0.92


DEEP = nn.Sequential(nn.Dense(4), nn.Tanh(), nn.Dense(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pretrain(nn.Sequential(nn.Dense(3)), SAMPLES, QUICK), "0 levels of a network"),
        (lambda: pretrain({}, SAMPLES, QUICK), "0 levels of a network that has 0"),
        (lambda: pretrain(DEEP, SAMPLES, QUICK, levels=2), "2 levels of a network that has 1"),
        (lambda: pretrain(DEEP, SAMPLES.reshape(200, 2, 5), QUICK), "level 0 (0, 1) sees"),
        (lambda: pretrain({"a": nn.Tanh()}, SAMPLES, QUICK, tied=True), "has 0 Dense layers"),
        (lambda: pretrain({"a": DEEP}, SAMPLES, QUICK, tied=True), "has 2 Dense layers"),
        (
            lambda: pretrain(
                nn.Sequential(nn.Conv(2, 3), nn.Flatten(), *DEEP), np.ones((4, 1, 5, 5)), QUICK
            ),
            "0.bias, 0.weight come before the first level",
        ),
        (lambda: pretrain_pairs({}, {}, SAMPLES, [0] * 200, QUICK), "0 stages"),
        (lambda: pretrain_pairs(*pyramid(), [SAMPLES], [0] * 200, QUICK), "images of 1 sizes"),
    ],
)
def test_what_does_not_fit(call, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert message in caught.value.what
    assert caught.value.remedy
