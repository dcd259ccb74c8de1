"""`Model.save` and `gc.load`: nothing is lost, nothing foreign is believed, nothing is executed."""

from __future__ import annotations

import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import graphc as gc
from graphc import nn, optim, zoo

X = np.random.default_rng(0).standard_normal((3, 1, 32, 32)).astype(np.float32)


@pytest.fixture
def model() -> gc.Model:
    found = gc.Model(zoo.lenet5(), "f32[N,1,32,32]", seed=4, backend="numpy")
    assert found.predict(X).std() > 0
    return found


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin", "weights"])
def test_round_trip(model: gc.Model, tmp_path, name: str, backend: str) -> None:
    path = tmp_path / name
    model.save(path)
    again = gc.load(str(path), backend=backend)
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-5, atol=1e-6)
    assert list(again.params) == list(model.params)
    assert all((again.params[k] == v).all() for k, v in model.params.items())
    assert again.graphs["forward"] is model.graphs["forward"]
    assert os.listdir(tmp_path) == [name], "no temporary file is left"


def test_states_are_saved_and_a_trained_batch_norm_predicts_the_same(tmp_path) -> None:
    net = nn.Sequential(nn.BatchNorm(), nn.Dense(2), nn.Dropout(0.5))
    x = np.random.default_rng(1).standard_normal((8, 3)).astype(np.float32) + 4
    model = gc.Model(net, "f32[N,3]", "cross_entropy", optim.Adam(0.1), "numpy")
    for _ in range(3):
        model.step(x, np.arange(8) % 2)
    model.save(tmp_path / "m")
    again = gc.load(tmp_path / "m", backend="numpy")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert set(load_file(tmp_path / "m")) == set(model.params)


def test_any_tool_reads_the_tensors(model: gc.Model, tmp_path) -> None:
    model.save(tmp_path / "m")
    stored = load_file(tmp_path / "m")
    np.testing.assert_array_equal(stored["7.weight"], model.params["7.weight"])


def test_a_failed_save_leaves_the_old_file(model: gc.Model, tmp_path, monkeypatch) -> None:
    path = tmp_path / "m"
    model.save(path)
    before = path.read_bytes()
    model.params["0.bias"][...] = 9

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(gc.GraphcError, match="No space left on device"):
        model.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m"]


def test_saving_over_a_file_does_not_touch_who_is_reading_it(model: gc.Model, tmp_path) -> None:
    path = tmp_path / "m"
    model.save(path)
    before = path.read_bytes()
    with path.open("rb") as reader:
        model.params["0.bias"][...] = 9
        model.save(path)
        assert reader.read() == before
    assert path.read_bytes() != before


def test_saving_where_it_cannot(model: gc.Model, tmp_path) -> None:
    with pytest.raises(gc.GraphcError, match="cannot write"):
        model.save(tmp_path / "absent" / "m")
    with pytest.raises(gc.GraphcError, match="cannot write"):
        model.save(tmp_path)


def test_absent_and_folder(tmp_path) -> None:
    with pytest.raises(gc.GraphcError, match="there is no file"):
        gc.load(tmp_path / "m", backend="numpy")
    with pytest.raises(gc.GraphcError, match="is no file"):
        gc.load(tmp_path, backend="numpy")


@pytest.mark.parametrize("kept", [0, 4, 100, 3000, -1])
def test_truncated(model: gc.Model, tmp_path, kept: int) -> None:
    path = tmp_path / "m"
    model.save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(gc.GraphcError, match="cannot be read as safetensors") as caught:
        gc.load(path, backend="numpy")
    assert f"({path.stat().st_size} bytes)" in caught.value.what


def test_foreign_files(tmp_path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"\x80\x04pickled" * 100)
    with pytest.raises(gc.GraphcError, match="cannot be read as safetensors"):
        gc.load(path, backend="numpy")
    save_file({"a": np.ones(3, np.float32)}, path)
    with pytest.raises(gc.GraphcError, match="holds tensors but no graph") as caught:
        gc.load(path, backend="numpy")
    assert "load_params" in caught.value.remedy


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"version": "99"}, "format version '99'"),
        ({"graph": "graph f(%x: f32[N,3]) { return %y }"}, "%y is not defined"),
        ({"graph": "graph f(%x: f32[N,3]) { return %x }"}, "no parameters named weight"),
    ],
)
def test_files_that_do_not_add_up(tmp_path, metadata, message: str) -> None:
    path = tmp_path / "m"
    model = gc.Model(nn.Dense(2, bias=False), "f32[N,3]", backend="numpy")
    plain = {"format": "graphc", "version": "1", "graph": str(model.graphs["forward"])}
    save_file(model.params, path, plain)
    assert list(gc.load(path, backend="numpy").params) == ["weight"]
    save_file(model.params, path, plain | metadata)
    with pytest.raises(gc.GraphcError, match=message) as caught:
        gc.load(path, backend="numpy")
    assert str(path) in str(caught.value)
