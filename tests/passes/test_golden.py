"""Printed graphs before and after passes, compared with files; refreshed by --update-golden."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphc as gc
from graphc.ir.graph import Graph
from graphc.passes.base import Pipeline

Golden = Callable[[str, object], None]

DENSE = """graph dense(%x: f32[N,4], %y: i32[N], %w: parameter f32[3,4], %b: parameter f32[3]) {
  %turned = transpose(%w) {axes=(1, 0)} : f32[4,3]
  %product = matmul(%x, %turned) : f32[N,3]
  %bias = broadcast(%b) {axes=(1,), shape=(N, 3)} : f32[N,3]
  %sum = add(%product, %bias) : f32[N,3]
  %loss = softmax_cross_entropy(%sum, %y) : f32[]
  return %loss
}"""

ALGEBRA = """graph algebra(%x: f32[N,3], %y: f32[N,3]) {
  %one = full() {dtype=f32, shape=(N, 3), value=1.0} : f32[N,3]
  %eight = full() {dtype=f32, shape=(N, 3), value=8.0} : f32[N,3]
  %two = full() {dtype=f32, shape=(3,), value=2.0} : f32[3]
  %wide = exp(%two) : f32[3]
  %c = broadcast(%wide) {axes=(1,), shape=(N, 3)} : f32[N,3]
  %a = mul(%x, %one) : f32[N,3]
  %d = div(%a, %eight) : f32[N,3]
  %m = neg(%y) : f32[N,3]
  %s = add(%d, %m) : f32[N,3]
  %t = transpose(%s) {axes=(1, 0)} : f32[3,N]
  %u = transpose(%t) {axes=(1, 0)} : f32[N,3]
  %r = mul(%u, %c) : f32[N,3]
  return %r
}"""

DISTANCE = """graph distance(%x: f32[N,3], %w: parameter f32[3]) {
  %b = broadcast(%w) {axes=(1,), shape=(N, 3)} : f32[N,3]
  %d = mean_squared_error(%x, %b) : f32[]
  return %d
}"""

NUMBERS = """graph numbers(%x: f32[3]) {
  %a = full() {dtype=f32, shape=(3,), value=3.0} : f32[3]
  %b = full() {dtype=f32, shape=(3,), value=0.3} : f32[3]
  %zero = full() {dtype=f32, shape=(3,), value=0.0} : f32[3]
  %c = mul(%x, %a) : f32[3]
  %d = mul(%c, %b) : f32[3]
  %e = mul(%x, %zero) : f32[3]
  %f = add(%d, %e) : f32[3]
  return %f
}"""

NORMALISED = """graph normalised(%x: f32[N,1,4,4], %w: parameter f32[2,1,3,3],
    %gamma: parameter f32[2], %beta: parameter f32[2], %mean: state f32[2], %var: state f32[2]) {
  %y = conv2d(%x, %w) {dilation=(1, 1), groups=1, padding=(1, 1, 1, 1), stride=(1, 1)}
    : f32[N,2,4,4]
  %eps = full() {dtype=f32, shape=(2,), value=0.001} : f32[2]
  %a = add(%var, %eps) : f32[2]
  %b = sqrt(%a) : f32[2]
  %scale = div(%gamma, %b) : f32[2]
  %means = broadcast(%mean) {axes=(1,), shape=(N, 2, 4, 4)} : f32[N,2,4,4]
  %centred = sub(%y, %means) : f32[N,2,4,4]
  %scales = broadcast(%scale) {axes=(1,), shape=(N, 2, 4, 4)} : f32[N,2,4,4]
  %scaled = mul(%centred, %scales) : f32[N,2,4,4]
  %shifts = broadcast(%beta) {axes=(1,), shape=(N, 2, 4, 4)} : f32[N,2,4,4]
  %shifted = add(%scaled, %shifts) : f32[N,2,4,4]
  %z = relu(%shifted) : f32[N,2,4,4]
  return %z
}"""

SMALL_NET = """graph net(%x: f32[N,1,6,6], %conv.weight: parameter f32[2,1,3,3],
    %fc.weight: parameter f32[5,8], %fc.bias: parameter f32[5]) {
  %y = conv2d(%x, %conv.weight) {dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), stride=(1, 1)}
    : f32[N,2,4,4]
  %p = max_pool2d(%y) {padding=(0, 0, 0, 0), stride=(2, 2), window=(2, 2)} : f32[N,2,2,2]
  %flat = reshape(%p) {shape=(N, 8)} : f32[N,8]
  %turned = transpose(%fc.weight) {axes=(1, 0)} : f32[8,5]
  %z = matmul(%flat, %turned) : f32[N,5]
  %bias = broadcast(%fc.bias) {axes=(1,), shape=(N, 5)} : f32[N,5]
  %biased = add(%z, %bias) : f32[N,5]
  %scores = softmax(%biased) {axis=1} : f32[N,5]
  return %scores
}"""

STEP = """graph step(%x: f32[N,16,4,4], %d: f32[N,16,4,4], %rate: f32[],
    %w: parameter f32[16,16,1,1], %v: state f32[16,16,1,1]) {
  %y = conv2d(%x, %w) {dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), stride=(1, 1)}
    : f32[N,16,4,4]
  %z = sum(%y) {axes=(0, 1, 2, 3), keepdims=False} : f32[]
  %g = conv2d_weight_grad(%x, %d)
    {dilation=(1, 1), groups=1, padding=(0, 0, 0, 0), stride=(1, 1), window=(1, 1)}
    : f32[16,16,1,1]
  %kept = full() {dtype=f32, shape=(16, 16, 1, 1), value=0.9} : f32[16,16,1,1]
  %faded = mul(%v, %kept) : f32[16,16,1,1]
  %velocity = add(%faded, %g) : f32[16,16,1,1]
  %rates = broadcast(%rate) {axes=(), shape=(16, 16, 1, 1)} : f32[16,16,1,1]
  %change = mul(%velocity, %rates) : f32[16,16,1,1]
  %new = sub(%w, %change) : f32[16,16,1,1]
  return %z, %new into %w, %velocity into %v
}"""

CASES = {
    "simplify": (ALGEBRA, "simplify"),
    "simplify_fastmath": (NUMBERS, "simplify{fastmath=True}"),
    "decompose": (DENSE, "decompose"),
    "differentiate": (DENSE, "differentiate"),
    "differentiate_simplify": (DISTANCE, "differentiate,decompose,simplify"),
    "pack_parameters": (STEP, "block_channels,pack_parameters"),
    "svd": (DENSE, "svd{rank=1}"),
    "fold_batch_norm": (NORMALISED, "fold_batch_norm"),
    "dense_to_conv": (SMALL_NET, "dense_to_conv{height=10,width=8}"),
    "conv_to_dense": (SMALL_NET, "conv_to_dense"),
}


@pytest.mark.parametrize(("text", "passes"), CASES.values(), ids=CASES)
def test_printed_before_and_after(
    text: str, passes: str, golden: Golden, request: pytest.FixtureRequest
) -> None:
    before = gc.parse(text)
    after = Pipeline.parse(passes)(before)
    golden(request.node.callspec.id, f"{before}\n\n{passes}\n\n{after}")
    assert parsed_again(after) is after


def parsed_again(graph: Graph) -> Graph:
    return gc.parse(str(graph))
