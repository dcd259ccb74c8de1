"""Summaries: one row a layer, numbers worked by hand, and a table for people."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import graphc as gc
from graphc import nn
from graphc.base.errors import GraphcError
from graphc.inspect import as_text, counted, scaled, summary

NETWORK = gc.parse(
    """graph net(%x: f32[N,1,12,12],
                 %"0.weight": parameter f32[4,1,3,3], %"0.bias": parameter f32[4],
                 %"3.scale": parameter f32[4], %"3.mean": state f32[4],
                 %"5.weight": parameter f32[7,100]) {
      %a = conv2d(%x, %"0.weight") {dilation=(1, 1), groups=1, padding=(0, 0, 0, 0),
                                    stride=(1, 1)} : f32[N,4,10,10]
      %b = broadcast(%"0.bias") {axes=(1,), shape=(N, 4, 10, 10)} : f32[N,4,10,10]
      %c = add(%a, %b) : f32[N,4,10,10]
      %d = relu(%c) : f32[N,4,10,10]
      %e = max_pool2d(%d) {padding=(0, 0, 0, 0), stride=(2, 2), window=(2, 2)} : f32[N,4,5,5]
      %m = broadcast(%"3.mean") {axes=(1,), shape=(N, 4, 5, 5)} : f32[N,4,5,5]
      %f = sub(%e, %m) : f32[N,4,5,5]
      %s = exp(%"3.scale") : f32[4]
      %t = broadcast(%s) {axes=(1,), shape=(N, 4, 5, 5)} : f32[N,4,5,5]
      %g = mul(%f, %t) : f32[N,4,5,5]
      %h = reshape(%g) {shape=(N, 100)} : f32[N,100]
      %w = transpose(%"5.weight") {axes=(1, 0)} : f32[100,7]
      %y = matmul(%h, %w) : f32[N,7]
      return %y
    }"""
)


def test_a_layer_is_what_reads_one_owners_parameters() -> None:
    rows = summary(NETWORK).rows
    assert [(row.layer, row.ops) for row in rows] == [
        ("0", ("conv2d", "add")),
        ("", ("relu",)),
        ("", ("max_pool2d",)),
        ("3", ("sub", "mul")),
        ("", ("reshape",)),
        ("5", ("matmul",)),
    ]


def test_the_numbers_of_every_layer() -> None:
    rows = summary(NETWORK).rows
    assert [row.parameters for row in rows] == [36 + 4, 0, 0, 4, 0, 700]
    assert [row.bytes for row in rows] == [1600, 1600, 400, 400, 400, 28]
    assert [row.flops for row in rows] == [
        2 * 4 * 100 * 9 + 400, 400, 400, 100 + 100 + 4, 0, 2 * 700,
    ]  # fmt: skip
    assert [row.receptive_field for row in rows] == [(3, 3), (3, 3), (4, 4), (4, 4), None, None]
    assert rows[0].output == "f32[N,4,10,10]"


def test_totals_are_sums() -> None:
    found = summary(NETWORK)
    assert found.parameters == 744
    assert found.flops == gc.inspect.graph_flops(NETWORK)
    assert found.bytes == sum(row.bytes for row in found.rows)


def test_a_receptive_field_grows_by_the_strides_before_it() -> None:
    def net(x, k):  # type: ignore[no-untyped-def]
        y = conv(conv(x, k, stride=2), k, stride=2)
        return conv(y, k, dilation=2)

    from graphc.tracing.tensor import function_named

    conv = function_named("conv2d")
    assert conv is not None
    graph = gc.trace(net, "f32[N,1,41,41]", "f32[1,1,3,3]")
    fields = [row.receptive_field for row in summary(graph).rows]
    assert fields == [(3, 3), (7, 7), (23, 23)]


def test_parameters_shared_by_two_uses_are_counted_once() -> None:
    graph = gc.parse(
        """graph g(%x: f32[N,3], %w: parameter f32[3,3]) {
          %a = matmul(%x, %w) : f32[N,3]
          %b = tanh(%a) : f32[N,3]
          %c = matmul(%b, %w) : f32[N,3]
          return %c
        }"""
    )
    assert [row.parameters for row in summary(graph).rows] == [9, 0, 0]


def test_the_summary_is_a_table_and_data() -> None:
    found = summary(NETWORK)
    text = str(found)
    assert text == as_text(found)
    for expected in ("net, for one sample", "conv2d add", "f32[N,4,5,5]", "744", "4x4", "1.6 kB"):
        assert expected in text
    data = json.loads(json.dumps(found.to_dict()))
    assert data["parameters"] == 744
    assert data["layers"][0]["ops"] == ["conv2d", "add"]


NUMBERS = {0: "0", 7: "7", 999: "999", 1000: "1 k", 61706: "61.7 k", 999_600: "1 M", 846e9: "846 G"}


@pytest.mark.parametrize(("number", "text"), NUMBERS.items())
def test_numbers_are_scaled_to_three_digits(number: float, text: str) -> None:
    assert scaled(number) == text


def test_numbers_with_units_and_commas() -> None:
    assert scaled(1536, "B") == "1.54 kB"
    assert scaled(12, "B") == "12 B"
    assert scaled(5e18) == "5e+03 P"
    assert counted(61706) == "61,706"


def test_brackets_in_types_are_no_markup() -> None:
    table = gc.inspect.table("t", ("a", "b"), [("f32[red]", "1")], numbers=("b",), total=("", "2"))
    assert "f32[red]" in as_text(table)


def test_rich_is_not_loaded_before_something_is_rendered() -> None:
    code = (
        "import sys, graphc as gc; import graphc.passes.catalog as c; c.load();"
        "gc.inspect.summary(gc.trace(lambda x: x + 1.0, 'f32[N]'));"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- layers of the front end, memory, and networks that fail ---------------------------------------


class Branches(nn.Module):
    """Two layers on one input, and arithmetic of its own."""

    def __init__(self) -> None:
        self.left, self.right = nn.Conv(4, 3, padding=1), nn.Sequential(nn.Conv(4, 1), nn.ReLU())

    def __call__(self, x: nn.Tensor) -> nn.Tensor:
        return self.left(x) * 2.0 + self.right(x)


def test_a_layer_of_the_front_end_is_a_row_whatever_it_is_made_of() -> None:
    rows = summary(Branches(), "f32[N,3,8,8]").rows
    assert [(row.layer, row.ops) for row in rows] == [
        ("left", ("conv2d", "add")),
        ("", ("mul",)),
        ("right.0", ("conv2d", "add")),
        ("right.1", ("relu",)),
        ("", ("add",)),
    ]


def lenet(backend: str = "llvm") -> gc.Model:
    return gc.Model(
        gc.zoo.lenet5(), "f32[N,1,32,32]", "cross_entropy", gc.optim.SGD(0.1), backend, threads=1
    )


@pytest.mark.parametrize("n", [3, 32])
def test_the_memory_is_what_the_step_plans(n: int) -> None:
    model = lenet()
    found = model.summary(n)
    model.step(np.zeros((n, 1, 32, 32), np.float32), np.zeros(n, np.int32))
    assert found.memory is not None
    assert found.memory.planned == model.report()["planned_bytes"]
    assert found.flops == n * model.summary().flops


def test_every_byte_of_the_plan_is_in_a_row_or_in_the_rest() -> None:
    found = lenet("numpy").summary(16)
    assert found.memory is not None
    for kind, rest in zip(("activations", "gradients"), found.rest, strict=True):
        in_rows = sum(getattr(row, kind) for row in found.rows)
        assert in_rows > 0 and rest >= 0
        assert in_rows + rest == sum(getattr(found.memory, kind).values())


def test_all_that_a_step_takes_is_said_item_by_item() -> None:
    found = lenet("numpy").summary(16)
    items = found.to_dict()["step_bytes"]
    assert items.pop("peak") == sum(items.values())
    assert items["parameters"] == 4 * found.parameters
    assert items["data"] == 16 * (32 * 32 * 4 + 4) + 4  # images, labels, the learning rate
    assert items["results"] == 16 * 10 * 4 + 4  # the scores and the loss
    assert f"data {scaled(items['data'], 'B')}, results" in " ".join(str(found).split())


def test_what_fusion_leaves_without_memory_takes_none() -> None:
    rows = {row.layer: row for row in lenet("numpy").summary(16).rows}
    assert rows["0"].activations == 0  # the convolution's kernel ends with the tanh behind it
    assert rows["1"].activations == rows["1"].bytes > 0


def test_gradients_that_nobody_needs_take_no_memory() -> None:
    model = lenet("numpy")
    whole = model.summary(16)
    model.freeze("0.*", "3.*")
    rows = {row.layer: row for row in model.summary(16).rows}
    assert all(rows[layer].gradients == 0 for layer in "012345")
    assert whole.memory is not None and sum(whole.memory.gradients.values()) > 0


def test_a_model_that_only_predicts_has_the_memory_of_a_prediction() -> None:
    found = gc.Model(gc.zoo.lenet5(), "f32[N,1,32,32]", backend="numpy").summary(16)
    assert found.memory is not None and not found.memory.gradients


def test_a_graph_that_was_read_knows_no_layers_to_plan_for() -> None:
    found = summary(NETWORK, memory=gc.inspect.step_memory(NETWORK, 4))
    assert found.memory is not None and not found.memory.layered
    assert all(row.activations is None for row in found.rows)
    assert found.rest == (found.memory.activations[""], 0) and found.rest[0] > 0


def failing() -> nn.Sequential:
    return nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.MaxPool(2), nn.Conv(3, 5), nn.Dense(3))


def test_a_network_that_does_not_fit_has_its_rows_up_to_the_layer_that_fails() -> None:
    found = summary(failing(), "f32[N,1,8,8]", name="failing")
    assert [(row.layer, row.output) for row in found.rows] == [
        ("0", "f32[N,4,6,6]"),
        ("1", "f32[N,4,6,6]"),
        ("2", "f32[N,4,3,3]"),
    ]
    assert found.failure is not None
    assert (found.failure.layer, found.failure.text) == ("3", "Conv(3, 5)")
    assert str(found.failure.location).startswith("test_summary.py:")
    text = str(found)
    for said in ("✗ 3", "Conv(3, 5)", "window 5 does not fit size 3", "use a smaller window"):
        assert said in text
    failed = json.loads(json.dumps(found.to_dict()))["failed"]
    assert failed["layer"] == "3" and "does not fit" in failed["error"]


def test_a_layer_that_fails_half_way_has_no_row_of_its_own() -> None:
    class Half(nn.Layer):
        def apply(self, x: nn.Tensor) -> nn.Tensor:
            return nn.relu(x) @ x

    found = summary(nn.Sequential(nn.Tanh(), Half()), "f32[N,3]")
    assert [row.layer for row in found.rows] == ["0"]
    assert found.failure is not None and found.failure.layer == "1"


def test_a_function_that_fails_outside_of_layers() -> None:
    found = summary(lambda x: (x * 2.0) @ x, "f32[N,7]")
    assert [row.ops for row in found.rows] == [("mul",)]
    assert found.failure is not None and found.failure.layer == ""
    assert "matmul: f32[N,7] times f32[N,7]: the inner extents differ" in str(found)


def test_a_branch_that_fails_keeps_the_rows_of_the_others() -> None:
    body = nn.Residual(nn.Sequential(nn.Conv(4, 3), nn.ReLU()))
    found = summary(nn.Sequential(nn.Conv(4, 1), body), "f32[N,1,8,8]")
    assert [row.layer for row in found.rows] == ["0", "1.body.0", "1.body.1"]
    assert found.failure is not None and found.failure.layer == "1"
    assert "the body gives f32[N,4,6,6]" in found.to_dict()["failed"]["error"]


@pytest.mark.parametrize("size", [32, 12])
def test_the_table_of_lenet5(size: int, golden: Callable[[str, object], None]) -> None:
    found = summary(gc.zoo.lenet5(), f"f32[N,1,{size},{size}]", name="lenet5")
    golden(f"lenet5_{size}", found)


def test_the_first_layer_may_fail() -> None:
    found = summary(nn.Sequential(nn.Conv(4, 9)), "f32[N,1,8,8]")
    assert found.rows == () and found.failure is not None and found.failure.layer == "0"


def test_a_network_that_does_not_take_the_types_is_an_error() -> None:
    with pytest.raises(GraphcError, match="the types given are 2"):
        summary(failing(), "f32[N,1,8,8]", "f32[N]")
