"""Augmentation: exact cases, statistics, determinism, and what is refused."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import graphc as gc
from graphc import data

EVERY = (
    data.Shift(2),
    data.Shift((1, 3), fill=0.5),
    data.Crop(6),
    data.Crop((8, 9), padding=2, fill=0.0),
    data.CentreCrop(5),
    data.Mirror(),
    data.Cutout(3),
    data.Rotate(20),
    data.Scale(0.2),
    data.Scale((0.5, 1.5), separate=True, fill=0.0),
    data.Elastic(2.0, 10.0),
    data.NormalizeWidth(5, height=6),
    data.ColourJitter(0.3, 0.3, 0.3),
    data.PCAJitter(((0.3, 0.2, 0.1), (0.1, -0.1, 0.0), (0.0, 0.01, -0.02))),
    data.Noise(0.1),
    data.MaskingNoise(0.1),
    data.SaltAndPepper(0.1),
    data.Augment(data.Shift(1), data.Mirror(), data.Noise(0.1)),
)
NOTHING_DRAWN = (data.CentreCrop, data.NormalizeWidth)


def images(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(dtype)


def ramps(count: int, height: int, width: int) -> np.ndarray:
    """Two channels: each pixel's row, and its column. Resampling tells where it looked."""
    grid = np.indices((height, width)).astype(np.float64)
    return np.broadcast_to(grid, (count, 2, height, width)).copy()


# -- what all of them promise ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_the_seed_decides_and_the_batch_stays(transform: data.Transform, dtype: str) -> None:
    x = images(20, 3, 9, 10, dtype=dtype)
    kept = x.copy()
    found = transform(x, 7)
    assert found.dtype == x.dtype and len(found) == len(x)
    np.testing.assert_array_equal(found, transform(x, np.random.default_rng(7)))
    np.testing.assert_array_equal(x, kept)
    if not isinstance(transform, NOTHING_DRAWN):
        assert (found != transform(x, 8)).any()


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_a_generator_goes_on(transform: data.Transform) -> None:
    generator, x = np.random.default_rng(0), images(20, 3, 9, 10)
    first, second = transform(x, generator), transform(x, generator)
    same = isinstance(transform, NOTHING_DRAWN)
    assert (first == second).all() == same


@pytest.mark.parametrize("transform", EVERY, ids=repr)
def test_each_sample_draws_for_itself(transform: data.Transform) -> None:
    x = np.repeat(images(1, 3, 9, 10), 20, axis=0)
    found = transform(x, 1)
    different = {sample.tobytes() for sample in found}
    assert (len(different) == 1) == isinstance(transform, NOTHING_DRAWN)


# -- moving pixels ---------------------------------------------------------------------------------


def test_a_shift_is_a_slice_of_the_bordered_image() -> None:
    x = images(300, 2, 5, 6)
    for fill, mode in ((None, {"mode": "edge"}), (0.25, {"constant_values": 0.25})):
        padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (1, 1)), **mode)
        found = data.Shift((2, 1), fill)(x, 0)
        seen = set()
        for k in range(len(x)):
            for r, c in itertools.product(range(5), range(3)):
                if (found[k] == padded[k, :, r : r + 5, c : c + 6]).all():
                    seen.add((r, c))
        assert len(seen) == 15


def test_shifts_are_uniform() -> None:
    x = np.zeros((5000, 1, 5, 5), np.float32)
    x[:, :, 2, 2] = 1
    share = data.Shift(2, fill=0.0)(x, 0).mean(axis=(0, 1))
    assert abs(share - 1 / 25).max() < 4 * math.sqrt(1 / 25 / 5000)


def test_a_crop_is_a_part_of_the_image() -> None:
    x = np.arange(100.0).reshape(1, 1, 10, 10).repeat(2000, axis=0)
    found = data.Crop((4, 7))(x, 0)
    assert found.shape == (2000, 1, 4, 7)
    corners = found[:, :1, :1, :1]
    relative = np.arange(4)[:, None] * 10.0 + np.arange(7)
    np.testing.assert_array_equal(found, corners + relative)
    assert {int(c) for c in corners.ravel()} == {10 * r + c for r in range(7) for c in range(4)}


def test_a_crop_with_padding_keeps_the_size() -> None:
    x = np.ones((500, 1, 6, 6), np.float32)
    found = data.Crop(6, padding=2, fill=0.0)(x, 0)
    assert found.shape == x.shape and found.min() == 0
    assert found.sum(axis=(1, 2, 3)).min() == 16 and found.sum(axis=(1, 2, 3)).max() == 36
    assert (data.Crop(6, padding=2)(x, 0) == 1).all()


def test_the_middle() -> None:
    x = images(2, 3, 8, 9)
    np.testing.assert_array_equal(data.CentreCrop((4, 5))(x, 0), x[:, :, 2:6, 2:7])
    np.testing.assert_array_equal(data.CentreCrop((8, 9))(x, 0), x)


def test_mirroring() -> None:
    x = images(2000, 1, 2, 3)
    always = data.Mirror(1.0)
    np.testing.assert_array_equal(always(x, 0), x[..., ::-1])
    np.testing.assert_array_equal(always(always(x, 0), 0), x)
    np.testing.assert_array_equal(data.Mirror(0.0)(x, 0), x)
    share = (data.Mirror(0.3)(x, 0) != x).any(axis=(1, 2, 3)).mean()
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)


def test_cutout_covers_a_square() -> None:
    x = np.ones((400, 2, 12, 12), np.float32)
    found = data.Cutout(4, fill=-1.0)(x, 0)
    covered = (found == -1).sum(axis=(2, 3))
    assert (covered[:, 0] == covered[:, 1]).all()
    assert covered.max() == 16 and covered.min() == 4
    assert set(np.unique(covered)) <= {a * b for a in (2, 3, 4) for b in (2, 3, 4)}


# -- resampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [None, 0.0])
@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (-90, 3), (360, 0)])
@pytest.mark.parametrize("size", [6, 7])
def test_quarter_turns(fill: float | None, degrees: float, turns: int, size: int) -> None:
    x = images(3, 2, size, size)
    found = data.Rotate((degrees, degrees), fill)(x, 0)
    np.testing.assert_allclose(found, np.rot90(x, turns, axes=(2, 3)), atol=1e-5)


def test_angles_are_uniform_within_the_range() -> None:
    x = ramps(3000, 9, 11)
    found = data.Rotate(30)(x, 0)
    vertical = found[:, 0, 4, 6] - found[:, 0, 4, 4]  # rows change by 2 sin(angle) along a row
    angle = np.rad2deg(np.arcsin(-vertical / 2))
    assert -30 <= angle.min() < -29 and 29 < angle.max() <= 30
    assert abs(angle.mean()) < 4 * 30 / math.sqrt(3 * 3000)
    assert abs(angle.std() - 30 / math.sqrt(3)) < 0.5
    np.testing.assert_allclose(found[:, :, 4, 5], np.tile([4.0, 5.0], (3000, 1)), atol=1e-12)


@pytest.mark.parametrize(
    "transform",
    [data.Rotate(0), data.Scale(0.0), data.Scale((1, 1), fill=0.0), data.Elastic(4.0, 0.0)],
    ids=repr,
)
def test_nothing_to_do_gives_the_same_bits(transform: data.Transform) -> None:
    x = images(4, 2, 7, 8)
    np.testing.assert_array_equal(transform(x, 0), x)


def test_scaling_about_the_centre() -> None:
    x = ramps(1000, 21, 31)
    found = data.Scale((1.5, 2.0))(x, 0)
    factor = 1 / (found[:, 0, 11, 15] - found[:, 0, 10, 15])
    assert 1.5 <= factor.min() < 1.51 and 1.99 < factor.max() <= 2.0
    expected = np.stack([10 + (np.arange(21) - 10) / f for f in factor])
    np.testing.assert_allclose(found[:, 0, :, 3], expected, atol=1e-9)
    across = 1 / (found[:, 1, 10, 16] - found[:, 1, 10, 15])
    np.testing.assert_allclose(across, factor)
    separate = data.Scale((1.5, 2.0), separate=True)(x, 0)
    across = 1 / (separate[:, 1, 10, 16] - separate[:, 1, 10, 15])
    down = 1 / (separate[:, 0, 11, 15] - separate[:, 0, 10, 15])
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.15


def test_outside_is_the_nearest_pixel_or_the_fill() -> None:
    x = np.full((1, 1, 9, 9), 3.0)
    half = data.Scale((0.5, 0.5), fill=-1.0)(x, 0)[0, 0]
    assert (half[2:7, 2:7] == 3).all() and (half[[0, 1, 7, 8]] == -1).all()
    assert (data.Scale((0.5, 0.5))(x, 0) == 3).all()


def test_between_pixels_values_are_bilinear() -> None:
    x = images(2, 1, 6, 6, dtype="float64")
    angle = math.radians(25)
    found = data.Rotate((25, 25), fill=0.0)(x, 0)
    padded = np.pad(x, ((0, 0), (0, 0), (9, 9), (9, 9)))
    for k, i, j in itertools.product(range(2), range(6), range(6)):
        y, z = i - 2.5, j - 2.5
        row = 11.5 + math.cos(angle) * y + math.sin(angle) * z
        column = 11.5 - math.sin(angle) * y + math.cos(angle) * z
        top, left = math.floor(row), math.floor(column)
        wanted = sum(
            padded[k, 0, top + a, left + b]
            * (1 - abs(row - top - a))
            * (1 - abs(column - left - b))
            for a, b in itertools.product((0, 1), (0, 1))
        )
        assert found[k, 0, i, j] == pytest.approx(wanted, abs=1e-12)


def test_elastic_displacements_are_smoothed_noise() -> None:
    """Their deviation is alpha / sqrt(3) / (2 sigma sqrt(pi)), their correlation at the distance d
    exp(-d^2 / 4 sigma^2): uniform noise after a Gaussian."""
    sigma, alpha, middle = 2.0, 3.0, 14
    x = ramps(2000, 29, 29)
    moved = (data.Elastic(sigma, alpha)(x, 0) - x)[:, :, middle, 9:20]
    deviation = alpha / math.sqrt(3) / (2 * sigma * math.sqrt(math.pi))
    np.testing.assert_allclose(moved.std(axis=(0, 2)), deviation, rtol=0.04)
    assert abs(moved.mean()) < 0.01
    for distance in (1, 2, 4):
        product = (moved[:, :, :-distance] * moved[:, :, distance:]).mean() / deviation**2
        assert product == pytest.approx(math.exp(-(distance**2) / (4 * sigma**2)), abs=0.03)
    assert abs((moved[:, 0] * moved[:, 1]).mean()) / deviation**2 < 0.03


@pytest.mark.parametrize("width", [20, 18, 16, 14, 12, 10])
def test_digits_get_the_width_of_the_column(width: int) -> None:
    x = np.full((3, 1, 28, 28), -1.0, np.float32)
    for k, (top, left, height, across) in enumerate(
        [(4, 4, 20, 20), (0, 9, 12, 6), (3, 1, 25, 27)]
    ):
        x[k, 0, top : top + height, left : left + across] = 1.0
    found = data.NormalizeWidth(width)(x, 0)
    begin = (28 - width) // 2
    wanted = np.full((28, 28), -1.0)
    wanted[4:24, begin : begin + width] = 1.0
    np.testing.assert_allclose(found[:, 0], np.broadcast_to(wanted, (3, 28, 28)), atol=1e-6)


def test_a_digit_that_has_its_width_stays() -> None:
    x = np.zeros((2, 2, 28, 28), np.float32)
    x[:, :, 4:24, 9:19] = images(2, 2, 20, 10) + 0.2
    np.testing.assert_allclose(data.NormalizeWidth(10)(x, 0), x, atol=1e-6)
    blank = np.full((1, 1, 28, 28), 0.5, np.float32)
    np.testing.assert_array_equal(data.NormalizeWidth(10)(blank, 0), blank)


# -- colour ----------------------------------------------------------------------------------------


def test_brightness_multiplies() -> None:
    x = images(4000, 1, 2, 2)
    factor = data.ColourJitter(brightness=0.4)(x, 0) / x
    np.testing.assert_allclose(factor, factor[:, :1, :1, :1].repeat(2, 2).repeat(2, 3), rtol=1e-5)
    assert factor.min() >= 0.6 - 1e-6 and factor.max() <= 1.4 + 1e-6
    assert abs(factor[:, 0, 0, 0].mean() - 1) < 4 * 0.4 / math.sqrt(3 * 4000)


def test_contrast_moves_from_the_mean_luminance_and_saturation_from_that_of_the_pixel() -> None:
    x = images(50, 3, 5, 5, dtype="float64")
    grey = (x * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(axis=1, keepdims=True)
    for jitter, centre in (
        (data.ColourJitter(contrast=0.5), grey.mean(axis=(2, 3), keepdims=True)),
        (data.ColourJitter(saturation=0.5), grey),
    ):
        ratio = (jitter(x, 0) - centre) / (x - centre)
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1, :1], x.shape))
        assert 0.5 <= ratio.min() < 0.6 and 1.4 < ratio.max() <= 1.5


def test_pca_jitter_spreads_along_the_components() -> None:
    """The covariance of what is added is sigma^2 sum lambda^2 p p^T = sigma^2 C C, with C the
    covariance of the pixels."""
    mixing = np.array([[0.3, 0.1, 0.0], [0.2, -0.1, 0.1], [0.1, 0.1, 0.2]])
    pixels = np.random.default_rng(0).standard_normal((40, 10, 10, 3)) @ mixing.T
    x = pixels.transpose(0, 3, 1, 2)
    covariance = np.cov(x.transpose(1, 0, 2, 3).reshape(3, -1))
    jitter = data.PCAJitter.fitted(x, sigma=0.5)
    zeros = np.zeros((20000, 3, 2, 2))
    added = jitter(zeros, 0)
    np.testing.assert_array_equal(added, np.broadcast_to(added[:, :, :1, :1], zeros.shape))
    expected = 0.25 * covariance @ covariance
    np.testing.assert_allclose(
        np.cov(added[:, :, 0, 0].T), expected, atol=0.05 * np.abs(expected).max()
    )


# -- noise -----------------------------------------------------------------------------------------


def test_noise_on_samples_of_any_shape() -> None:
    x = np.full((100, 300), 2.0, np.float32)
    noisy = data.Noise(0.5)(x, 0)
    assert abs(noisy.mean() - 2) < 0.02 and abs(noisy.std() - 0.5) < 0.02
    for share in (0.05, 0.1):
        masked = data.MaskingNoise(share, value=-1.0)(x, 0)
        assert set(np.unique(masked)) == {-1.0, 2.0}
        assert abs((masked == -1).mean() - share) < 4 * math.sqrt(share / x.size)
    peppered = data.SaltAndPepper(0.2, low=-3.0, high=3.0)(x, 0)
    assert set(np.unique(peppered)) == {-3.0, 2.0, 3.0}
    for value in (-3, 3):
        assert abs((peppered == value).mean() - 0.1) < 4 * math.sqrt(0.1 / x.size)


# -- composing -------------------------------------------------------------------------------------


def test_augment_hands_one_generator_on() -> None:
    x = images(5, 1, 8, 8)
    generator = np.random.default_rng(3)
    expected = data.Noise(0.1)(data.Shift(2)(x, generator), generator)
    together = data.Augment(data.Shift(2), data.Noise(0.1))
    np.testing.assert_array_equal(together(x, 3), expected)
    nested = data.Augment(data.Augment(data.Shift(2)), lambda x, g: data.Noise(0.1)(x, g))
    np.testing.assert_array_equal(nested(x, 3), expected)
    assert repr(together) == "Augment(Shift(pixels=2, fill=None), Noise(deviation=0.1))"


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: data.Shift(-1), "Shift: pixels is -1"),
        (lambda: data.Shift((1, 2, 3)), "Shift: pixels is (1, 2, 3)"),
        (lambda: data.Shift(1.5), "Shift: pixels is 1.5"),
        (lambda: data.Shift(1, fill="black"), "Shift: fill is 'black'"),
        (lambda: data.Crop(0), "Crop: size is 0"),
        (lambda: data.Crop(3, padding=-1), "Crop: padding is -1"),
        (lambda: data.CentreCrop(True), "CentreCrop: size is True"),
        (lambda: data.Mirror(1.5), "Mirror: probability is 1.5"),
        (lambda: data.Cutout(0), "Cutout: size is 0"),
        (lambda: data.Rotate((20, 10)), "Rotate: degrees is (20, 10)"),
        (lambda: data.Rotate(math.nan), "Rotate: degrees is nan"),
        (lambda: data.Rotate("a lot"), "Rotate: degrees is 'a lot'"),
        (lambda: data.Scale(1.0), "Scale: factor is 0"),
        (lambda: data.Scale((-1, 1)), "Scale: factor is -1"),
        (lambda: data.Elastic(0.0, 1.0), "Elastic: sigma is 0.0"),
        (lambda: data.Elastic(1.0, -1.0), "Elastic: alpha is -1.0"),
        (lambda: data.NormalizeWidth(0), "NormalizeWidth: (height, width) is (20, 0)"),
        (lambda: data.NormalizeWidth(10, threshold=2), "NormalizeWidth: threshold is 2"),
        (lambda: data.ColourJitter(-0.1), "ColourJitter: brightness is -0.1"),
        (lambda: data.PCAJitter(0.1), "PCAJitter: components 0.1"),
        (lambda: data.PCAJitter.fitted(np.zeros((3, 3))), "cannot be fitted to float64[3, 3]"),
        (lambda: data.Noise(-1.0), "Noise: deviation is -1.0"),
        (lambda: data.MaskingNoise(1.1), "MaskingNoise: share is 1.1"),
        (lambda: data.SaltAndPepper(0.1, 1, 0), "SaltAndPepper: low 1 is above high 0"),
        (lambda: data.Augment(data.Mirror), "Augment: <class"),
        (lambda: data.Augment(3), "Augment: 3 is no transform"),
        (lambda: data.Shift(1)(np.zeros((3, 8, 8), "f4"), 0), "Shift was given float32[3, 8, 8]"),
        (lambda: data.Mirror()(np.zeros((3, 1, 8, 8), "i4"), 0), "was given int32[3, 1, 8, 8]"),
        (lambda: data.Noise(1.0)(3.0, 0), "Noise was given float64[]"),
        (lambda: data.Crop(9)(images(2, 1, 8, 8), 0), "9x9 does not fit into images of 8x8"),
        (lambda: data.CentreCrop(9)(images(2, 1, 8, 8), 0), "9x9 does not fit"),
        (lambda: data.NormalizeWidth(9, 7)(images(2, 1, 8, 8), 0), "7x9 does not fit"),
        (lambda: data.ColourJitter(0, 0, 1)(images(2, 1, 8, 8), 0), "images with 1 channels"),
        (lambda: data.PCAJitter(((1.0,),))(images(2, 3, 8, 8), 0), "of 1 channels was given"),
        (lambda: data.Mirror()(images(2, 1, 8, 8), None), "None is neither a generator nor a seed"),
        (lambda: data.Mirror()(images(2, 1, 8, 8), -1), "-1 is neither a generator nor a seed"),
    ],
)  # fmt: skip
def test_bad_arguments(construct, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        construct()
    assert message in caught.value.what
    assert caught.value.location is not None and caught.value.location.file == __file__
    assert caught.value.remedy
