"""Truncated SVD of dense layers: exact residuals, ranks by three criteria, and refusals."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.ops.interpret import interpret
from graphc.passes.base import Pipeline
from graphc.passes.compress import CompressDense, compress_dense

NETWORK = gc.parse(
    """graph network(%x: f32[N,20], %fc.weight: parameter f32[30,20], %fc.bias: parameter f32[30],
                     %out.weight: parameter f32[12,30]) {
      %turned = transpose(%fc.weight) {axes=(1, 0)} : f32[20,30]
      %product = matmul(%x, %turned) : f32[N,30]
      %bias = broadcast(%fc.bias) {axes=(1,), shape=(N, 30)} : f32[N,30]
      %sum = add(%product, %bias) : f32[N,30]
      %hidden = tanh(%sum) : f32[N,30]
      %last = transpose(%out.weight) {axes=(1, 0)} : f32[30,12]
      %y = matmul(%hidden, %last) : f32[N,12]
      return %y
    }"""
)


def parameters(graph: Graph = NETWORK, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        i.attrs["name"]: rng.standard_normal(i.tensor.concrete(1)).astype(np.float32)
        for i in graph.inputs
        if i.attrs["kind"] == "parameter"
    }


def test_the_residual_is_exactly_the_first_singular_value_that_was_dropped() -> None:
    values = parameters()
    _, new, report = compress_dense(NETWORK, values, rank=5)
    for layer in report.layers:
        dense = values[layer.weight].astype(np.float64)
        kept = new[f"{layer.weight}.u"].astype(np.float64) @ new[f"{layer.weight}.v"]
        singular = np.linalg.svd(dense, compute_uv=False)
        np.testing.assert_allclose(layer.residual, singular[5], rtol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(dense - kept, 2), singular[5], rtol=1e-6)
        energy = (singular[:5] ** 2).sum() / (singular**2).sum()
        np.testing.assert_allclose(layer.energy, energy, rtol=1e-12)


def test_the_factors_have_the_stated_shapes_and_the_rest_stays() -> None:
    values = parameters()
    graph, new, report = compress_dense(NETWORK, values, rank=5, layers=["fc"])
    assert {k: v.shape for k, v in new.items()} == {
        "fc.weight.v": (5, 20), "fc.weight.u": (30, 5), "fc.bias": (30,), "out.weight": (12, 30),
    }  # fmt: skip
    assert {i.attrs["name"]: i.tensor.shape for i in graph.inputs[1:]} == {
        name: array.shape for name, array in new.items()
    }
    assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in new.values())
    assert new["fc.bias"] is values["fc.bias"]
    (layer,) = report.layers
    assert (layer.rank, layer.before, layer.after) == (5, 600, 250)


def test_the_compressed_network_computes_with_the_nearest_weights() -> None:
    values = parameters()
    graph, new, _ = compress_dense(NETWORK, values, rank=5)
    nearest = dict(values)
    for name in ("fc.weight", "out.weight"):
        nearest[name] = new[f"{name}.u"] @ new[f"{name}.v"]
    x = np.random.default_rng(1).standard_normal((7, 20)).astype(np.float32)
    (expected,) = interpret(NETWORK, {"x": x, **nearest})
    (found,) = interpret(graph, {"x": x, **new})
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


def test_a_matrix_of_low_rank_is_kept_whole() -> None:
    values = parameters()
    rng = np.random.default_rng(2)
    values["fc.weight"] = (rng.standard_normal((30, 4)) @ rng.standard_normal((4, 20))).astype("f4")
    _, _, report = compress_dense(NETWORK, values, energy=0.999999, layers=["fc.weight"])
    assert report.layers[0].rank == 4
    assert report.layers[0].residual < 1e-5
    _, _, by_error = compress_dense(NETWORK, values, error=1e-4, layers=["fc.weight"])
    assert by_error == report


def test_the_rank_is_the_least_that_keeps_the_energy_or_the_error() -> None:
    values = parameters()
    _, singular, _ = np.linalg.svd(values["fc.weight"].astype(np.float64), full_matrices=False)
    kept = np.cumsum(singular**2) / (singular**2).sum()
    _, _, by_energy = compress_dense(NETWORK, values, energy=float(kept[6]), layers=["fc"])
    _, _, above = compress_dense(NETWORK, values, energy=float(kept[6]) + 1e-9, layers=["fc"])
    assert [r.layers[0].rank for r in (by_energy, above)] == [7, 8]
    bound = float(singular[7])
    _, _, by_error = compress_dense(NETWORK, values, error=bound, layers=["fc"])
    _, _, below = compress_dense(NETWORK, values, error=bound * (1 - 1e-9), layers=["fc"])
    assert [r.layers[0].rank for r in (by_error, below)] == [7, 8]
    assert by_error.layers[0].residual <= bound


def test_a_budget_is_shared_between_the_layers() -> None:
    values = parameters()
    _, new, report = compress_dense(NETWORK, values, budget=700)
    spent = sum(new[f"{name}.{k}"].size for name in ("fc.weight", "out.weight") for k in "uv")
    assert spent == report.to_dict()["after"] <= 700 < spent + 42
    # a layer that needs few ranks leaves the others more
    rng = np.random.default_rng(2)
    values["fc.weight"] = (rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20))).astype("f4")
    _, _, shifted = compress_dense(NETWORK, values, budget=350)
    assert [layer.rank for layer in shifted.layers] == [2, 5]
    assert 2 * 50 + 5 * 42 <= 350 < 2 * 50 + 6 * 42


def test_a_budget_that_saves_nothing_or_holds_no_rank_is_refused() -> None:
    compress_dense(NETWORK, parameters(), budget=92)
    for budget in (91, 960):
        with pytest.raises(GraphcError, match="have 960 now, and 92 at rank 1") as caught:
            compress_dense(NETWORK, parameters(), budget=budget)
        assert "from 92 to 959" in str(caught.value.remedy)


NETWORKS = {
    # Girshick, "Fast R-CNN", 2015, section 3.1, with the ranks of section 4.4
    "fast_rcnn": ({"trunk.1": 1024, "trunk.4": 256}, 134_690_729,
                  {"trunk.1": (102_760_448, 29_884_416), "trunk.4": (16_777_216, 2_097_152)}),
    "alexnet": ({"16": 512, "19": 256, "22": 128}, 60_965_224,
                {"16": (37_748_736, 6_815_744), "19": (16_777_216, 2_097_152),
                 "22": (4_096_000, 652_288)}),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_the_counts_of_large_networks(name: str) -> None:
    """t (u + v) weights in place of u v, in layers of 25088, 9216, 4096 and 1000 units."""
    ranks, whole, layers = NETWORKS[name]
    entry = gc.zoo.NETWORKS[name]
    types = (entry.input_type,) if isinstance(entry.input_type, str) else entry.input_type
    graph = gc.trace(entry.build(), *types, name=name)
    text = ",".join(f"svd{{rank={rank},layer={layer}}}" for layer, rank in ranks.items())
    small = Pipeline.parse(text)(graph)
    before, after = counts(graph), counts(small)
    assert sum(before.values()) == whole
    for layer, (dense, factors) in layers.items():
        weight = f"{layer}.weight"
        assert before[weight] == dense
        assert after[f"{weight}.v"] + after[f"{weight}.u"] == factors
    saved = sum(dense - factors for dense, factors in layers.values())
    assert sum(after.values()) == whole - saved


def test_the_break_even_rank_of_the_largest_layer_is_said() -> None:
    network = gc.trace(gc.zoo.fast_rcnn(), *gc.zoo.NETWORKS["fast_rcnn"].input_type)
    with pytest.raises(GraphcError, match="the break-even rank is 3521"):
        Pipeline.parse("svd{rank=3522,layer=trunk.1}")(network)


def counts(graph: Graph) -> dict[str, int]:
    kept = [i for i in graph.inputs if i.attrs["kind"] == "parameter"]
    return {i.attrs["name"]: i.tensor.count() for i in kept}


def test_text_parses_and_prints_under_both_names() -> None:
    texts = (
        "svd{rank=8}", "compress_dense{rank=8,layer=fc+out}", "simplify,svd{energy=0.9}",
        "svd{budget=500}",
    )  # fmt: skip
    for text in texts:
        pipeline = Pipeline.parse(text)
        assert str(pipeline) == text
        assert Pipeline.parse(str(pipeline)) == pipeline


def test_a_rank_needs_no_values_for_the_structure() -> None:
    by_text = Pipeline.parse("svd{rank=5}")(NETWORK)
    assert by_text is compress_dense(NETWORK, parameters(), rank=5)[0]


def test_the_pass_gives_parameters_for_the_graph_it_makes() -> None:
    step = CompressDense(rank=5)
    new = step.parameters(NETWORK, parameters())
    names = {i.attrs["name"] for i in step(NETWORK).inputs if i.attrs["kind"] == "parameter"}
    assert set(new) == names
    assert step.report(NETWORK, parameters()).layers[0].rank == 5
    assert "values" not in str(CompressDense(rank=5, values=parameters()))


def test_beyond_break_even_it_refuses_and_says_the_rank() -> None:
    compress_dense(NETWORK, parameters(), rank=11, layers=["fc"])
    with pytest.raises(GraphcError, match="the break-even rank is 12") as caught:
        compress_dense(NETWORK, parameters(), rank=12, layers=["fc"])
    assert "at most 11" in str(caught.value)
    with pytest.raises(GraphcError, match=r"the break-even rank is 8\.571") as caught:
        compress_dense(NETWORK, parameters(), energy=1.0, layers=["out"])
    assert "at most 8" in str(caught.value)


ERRORS = {
    "no criterion": ({}, "give one of"),
    "two criteria": ({"rank": 3, "energy": 0.5}, "give one of"),
    "a negative rank": ({"rank": -1}, "give one of"),
    "half a rank": ({"rank": 2.5}, "give one of"),
    "too much energy": ({"energy": 1.5}, "give one of"),
    "a negative error": ({"error": -1.0}, "give one of"),
    "half a weight": ({"budget": 100.5}, "give one of"),
    "a rank and a budget": ({"rank": 3, "budget": 100}, "give one of"),
    "an unknown layer": ({"rank": 3, "layers": ["conv"]}, "fc.weight, out.weight"),
}


@pytest.mark.parametrize(("options", "remedy"), ERRORS.values(), ids=ERRORS)
def test_wrong_options_are_refused(options: dict[str, Any], remedy: str) -> None:
    with pytest.raises(GraphcError) as caught:
        compress_dense(NETWORK, parameters(), **options)
    assert remedy in str(caught.value.remedy)


def test_wrong_values_are_refused() -> None:
    values = parameters()
    with pytest.raises(GraphcError, match=r"fc.weight of type f32\[30,20\] is not given"):
        compress_dense(NETWORK, {k: v for k, v in values.items() if k != "fc.weight"}, rank=3)
    with pytest.raises(GraphcError, match=r"an array of shape \[20, 30\]"):
        compress_dense(NETWORK, values | {"fc.weight": values["fc.weight"].T}, rank=3)
    with pytest.raises(GraphcError, match="not finite"):
        compress_dense(NETWORK, values | {"fc.weight": values["fc.weight"] * np.nan}, rank=3)
    with pytest.raises(GraphcError, match="needs the weights"):
        Pipeline.parse("svd{energy=0.9}")(NETWORK)


def test_weights_that_are_read_otherwise_are_left_alone() -> None:
    tied = gc.parse(
        """graph tied(%x: f32[N,20], %w: parameter f32[30,20]) {
          %turned = transpose(%w) {axes=(1, 0)} : f32[20,30]
          %code = matmul(%x, %turned) : f32[N,30]
          %y = matmul(%code, %w) : f32[N,20]
          return %y
        }"""
    )
    with pytest.raises(GraphcError, match="has no dense layer"):
        CompressDense(rank=3)(tied)


def test_a_weight_shared_by_two_products_is_compressed_once() -> None:
    shared = gc.parse(
        """graph shared(%x: f32[N,20], %y: f32[N,20], %w: parameter f32[30,20]) {
          %turned = transpose(%w) {axes=(1, 0)} : f32[20,30]
          %a = matmul(%x, %turned) : f32[N,30]
          %b = matmul(%y, %turned) : f32[N,30]
          %c = add(%a, %b) : f32[N,30]
          return %c
        }"""
    )
    graph, new, report = compress_dense(shared, parameters(shared), rank=4)
    assert [i.attrs["name"] for i in graph.inputs] == ["x", "y", "w.v", "w.u"]
    assert len(report.layers) == 1 and set(new) == {"w.v", "w.u"}
    assert len([n for n in graph if n.op.name == "matmul"]) == 4


def test_donations_of_other_inputs_move_with_them() -> None:
    graph = gc.parse(
        """graph g(%x: f32[N,20], %w: parameter f32[30,20], %count: state i32[]) {
          %turned = transpose(%w) {axes=(1, 0)} : f32[20,30]
          %y = matmul(%x, %turned) : f32[N,30]
          %one = full() {dtype=i32, shape=(), value=1} : i32[]
          %next = add(%count, %one) : i32[]
          return %y, %next into %count
        }"""
    )
    new = CompressDense(rank=4)(graph)
    assert new.donations == ((1, 3),)
    assert new.inputs[3].attrs["name"] == "count"


def test_the_report_renders_as_a_table_and_as_data() -> None:
    from rich.console import Console

    _, _, report = compress_dense(NETWORK, parameters(), rank=5)
    stream = io.StringIO()
    Console(file=stream, width=100).print(report)
    assert "fc.weight" in stream.getvalue() and "600" in stream.getvalue()
    data = report.to_dict()
    assert (data["before"], data["after"]) == (960, 460)
    assert data["layers"][0]["rank"] == 5


def test_a_matrix_of_zeros_keeps_all_its_energy() -> None:
    values = parameters() | {"fc.weight": np.zeros((30, 20), np.float32)}
    _, new, report = compress_dense(NETWORK, values, energy=0.5, layers=["fc"])
    assert (report.layers[0].rank, report.layers[0].energy, report.layers[0].residual) == (1, 1, 0)
    assert not new["fc.weight.v"].any()
