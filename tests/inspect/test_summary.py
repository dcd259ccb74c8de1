"""Summaries: one row a layer, numbers worked by hand, and a table for people."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import graphc as gc
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
