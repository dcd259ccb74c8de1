"""Losses of classifiers: cross entropies, negative log likelihood, and the hinge of linear SVMs.

Labels outside of the classes choose none; `graphc.train.losses` refuses them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, TensorType
from graphc.ops.create import batch_size, full, plain_number
from graphc.ops.elementwise import add, div, mul, neg, relu, sub, where
from graphc.ops.families import layer, require_dtype
from graphc.ops.losses.targets import alike, chosen, chosen_numpy, labelled, zeros_like
from graphc.ops.op import Op, sample
from graphc.ops.reductions import mean, sum
from graphc.ops.softmax import log_softmax, softmax
from graphc.ops.softplus import softplus

LABELS = ("normal", "labels:5")

# -- cross entropy ---------------------------------------------------------------------------------


def _cross_entropy_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    logits, labels = inputs
    require_dtype("softmax_cross_entropy", logits, "float")
    soft = labels.dtype.is_float
    if 0 in logits.shape:
        raise GraphcError(
            f"softmax_cross_entropy: logits {logits} have no class or no sample",
            remedy="give at least one",
        )
    fits = (
        labels == logits
        if soft
        else labels.shape == logits.shape[:1] and labels.dtype is not DType.bool
    )
    if logits.rank != 2 or not (
        fits or (soft and labels.shape == logits.shape and labels.dtype is logits.dtype)
    ):
        raise GraphcError(
            f"softmax_cross_entropy: labels {labels} do not fit logits {logits}",
            remedy="logits are [N,classes]; labels are class numbers i32[N] or i64[N], "
            "or probabilities [N,classes]",
        )
    return TensorType(logits.dtype, ())


def softmax_cross_entropy(logits: Node, labels: Node) -> Node:
    """-log softmax(logits)[label], the mean over the batch.

    Labels are class numbers or probabilities.
    """
    return make(SOFTMAX_CROSS_ENTROPY, (logits, labels))


def _targets(logits: Node, labels: Node) -> Node:
    """Probabilities from labels of either kind."""
    if labels.tensor.dtype.is_float:
        return labels
    one = full(1.0, shape=logits.tensor.shape, dtype=logits.tensor.dtype)
    return where(chosen(labels, logits.tensor.shape), one, zeros_like(logits))


def _cross_entropy_decompose(logits: Node, labels: Node) -> Node:
    surprise = log_softmax(logits)
    if labels.tensor.dtype.is_float:
        return neg(mean(sum(mul(labels, surprise), axes=1), axes=0))
    return _likelihood_decompose(surprise, labels)


def _cross_entropy_vjp(g: Node, y: Node, logits: Node, labels: Node) -> tuple[Node | None, ...]:
    """d/d logits = (p * sum(t) - t) / N for targets t; sum(t) is 1 for class numbers."""
    count = logits.tensor.shape[0]
    scale = (
        div(g, batch_size(dtype=g.tensor.dtype))
        if not isinstance(count, int)
        else mul(g, 1.0 / count)
    )
    targets = _targets(logits, labels)
    p = softmax(logits)
    if not labels.tensor.dtype.is_float:
        return mul(sub(p, targets), scale), None
    mass = sum(targets, axes=1, keepdims=True)
    return mul(sub(mul(p, mass), targets), scale), mul(neg(log_softmax(logits)), scale)


def _cross_entropy_numpy(logits: Any, labels: Any, *, n: int) -> Any:
    shifted = logits - logits.max(axis=1, keepdims=True)
    surprise = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    if labels.dtype.kind == "f":
        return -(labels * surprise).sum(axis=1).mean()
    return _likelihood_numpy(surprise, labels, n=n)


SOFTMAX_CROSS_ENTROPY: Op = layer(
    "softmax_cross_entropy", rule=_cross_entropy_rule, build=softmax_cross_entropy,
    decompose=_cross_entropy_decompose, vjp=_cross_entropy_vjp, numpy=_cross_entropy_numpy, arity=2,
    samples=(sample("f32[N,5]", "i32[N]", values=LABELS),
             sample("f64[N,5]", "i64[N]", values=LABELS),
             sample("f64[4,3]", "f64[4,3]", values=("normal", "probability")),
             sample("f32[N,5]", "i32[N,5]", values=LABELS, raises="labels")),
)  # fmt: skip

# -- negative log likelihood -----------------------------------------------------------------------


def negative_log_likelihood(log_probabilities: Node, labels: Node) -> Node:
    """-x[label] of log-probabilities x [N,classes], the mean over the batch (PyTorch's NLLLoss)."""
    return make(NEGATIVE_LOG_LIKELIHOOD, (log_probabilities, labels))


def _likelihood_decompose(x: Node, labels: Node) -> Node:
    picked = where(chosen(labels, x.tensor.shape), x, zeros_like(x))
    return neg(mean(sum(picked, axes=1), axes=0))


def _likelihood_numpy(x: Any, labels: Any, *, n: int) -> Any:
    return -np.where(chosen_numpy(labels, x.shape[1]), x, 0).sum(axis=1).mean()


NEGATIVE_LOG_LIKELIHOOD: Op = layer(
    "negative_log_likelihood", rule=labelled("negative_log_likelihood"),
    build=negative_log_likelihood, decompose=_likelihood_decompose, numpy=_likelihood_numpy,
    arity=2,
    samples=(sample("f32[N,5]", "i32[N]", values=LABELS),
             sample("f64[4,5]", "i64[4]", values=LABELS),
             sample("f32[N,5]", "f32[N,5]", raises="labels"),
             sample("f32[N,0]", "i32[N]", raises="no class")),
)  # fmt: skip

# -- binary cross entropy --------------------------------------------------------------------------


def binary_cross_entropy(logits: Node, targets: Node) -> Node:
    """-t log p - (1 - t) log(1 - p) with p = sigmoid(x), the mean over all elements.

    Computed from the logits x as log(1 + exp(x)) - t x, which no x overflows. Targets are
    probabilities of the logits' type (PyTorch's BCEWithLogitsLoss).
    """
    return make(BINARY_CROSS_ENTROPY, (logits, targets))


BINARY_CROSS_ENTROPY: Op = layer(
    "binary_cross_entropy", rule=alike("binary_cross_entropy"), build=binary_cross_entropy,
    decompose=lambda x, t: mean(sub(softplus(x), mul(x, t))), arity=2,
    numpy=lambda x, t, *, n: (np.logaddexp(x.dtype.type(0), x) - t * x).mean(),
    samples=(sample("f32[N,3]", "f32[N,3]", values=("normal", "unit")),
             sample("f64[4]", "f64[4]", values=("normal", "unit")),
             sample("f32[N,3]", "f32[N]", raises="differ")),
)  # fmt: skip

# -- hinge -----------------------------------------------------------------------------------------

HINGE_FORMS = ("multiclass", "one_against_rest")
_hinge_scores = labelled("hinge")


def _hinge_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    if attrs["form"] not in HINGE_FORMS:
        raise GraphcError(
            f"hinge: form {attrs['form']!r}", remedy="use " + " or ".join(HINGE_FORMS)
        )
    return _hinge_scores(inputs, attrs)


def hinge(
    scores: Node,
    labels: Node,
    *,
    margin: float = 1.0,
    squared: bool = False,
    form: str = "multiclass",
) -> Node:
    """The loss of linear support vector machines on scores x [N,classes], the mean over the batch.

    form "multiclass": sum over j other than the label of max(0, margin - x[label] + x[j]), divided
    by the number of classes (PyTorch's MultiMarginLoss; Crammer and Singer, 2001).
    "one_against_rest": sum over j of max(0, margin - t_j x[j]), t_j = 1 for the label and -1 for
    the rest: as many binary machines as there are classes; a label outside of them, such as -1, is
    none of them. squared: each maximum is squared.
    """
    attrs = {
        "margin": float(plain_number(margin, "hinge: margin")),
        "squared": bool(squared),
        "form": form,
    }
    return make(HINGE, (scores, labels), attrs)


def _hinge_decompose(x: Node, labels: Node, *, margin: float, squared: bool, form: str) -> Node:
    hit = chosen(labels, x.tensor.shape)
    if form == "multiclass":
        right = sum(where(hit, x, zeros_like(x)), axes=1, keepdims=True)
        short = where(hit, zeros_like(x), relu(add(sub(x, right), margin)))
        classes = x.tensor.shape[1]
        assert isinstance(classes, int)
        scale = 1.0 / classes
    else:
        short = relu(add(where(hit, neg(x), x), margin))
        scale = 1.0
    lost = mul(short, short) if squared else short
    return mul(mean(sum(lost, axes=1), axes=0), scale)


def _hinge_numpy(x: Any, labels: Any, *, n: int, margin: float, squared: bool, form: str) -> Any:
    hit = chosen_numpy(labels, x.shape[1])
    power = 2 if squared else 1
    if form == "one_against_rest":
        short = np.maximum(margin - np.where(hit, x, -x), 0)
        return (short**power).sum(axis=1).mean().astype(x.dtype)
    right = np.where(hit, x, 0).sum(axis=1, keepdims=True)
    short = np.where(hit, 0, np.maximum(margin - right + x, 0))
    return (short**power).mean().astype(x.dtype)


HINGE: Op = layer(
    "hinge", rule=_hinge_rule, build=hinge, decompose=_hinge_decompose, numpy=_hinge_numpy, arity=2,
    samples=(sample("f32[N,5]", "i32[N]", values=LABELS, margin=1.0, squared=False,
                    form="multiclass"),
             sample("f64[N,5]", "i64[N]", values=LABELS, margin=0.5, squared=True,
                    form="multiclass"),
             sample("f32[N,5]", "i32[N]", values=LABELS, margin=1.0, squared=False,
                    form="one_against_rest"),
             sample("f64[4,5]", "i32[4]", values=LABELS, margin=1.0, squared=True,
                    form="one_against_rest"),
             sample("f32[N,5]", "i32[N,5]", raises="labels", margin=1.0, squared=False,
                    form="multiclass"),
             sample("f32[N,5]", "i32[N]", raises="form", margin=1.0, squared=False, form="both")),
)  # fmt: skip
