"""The product of two tensors summed over the letters they share: many matrix products at once.

`einsum(a, b, subscripts="nctyx,tkc->nktyx")`: out[n,k,t,y,x] = sum over c of a[n,c,t,y,x] b[t,k,c].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.layouts import blocked_axes
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, TensorType
from graphc.ops.contractions import At
from graphc.ops.families import product_dtype
from graphc.ops.op import Contraction, Op, common_layout, sample


def _letters(subscripts: str) -> tuple[str, str, str]:
    """The letters of the two operands and of the result."""
    operands, arrow, out = subscripts.partition("->")
    left, comma, right = operands.partition(",")
    each = (left, right, out)
    fine = arrow and comma and all(part.isalpha() and len(set(part)) == len(part) for part in each)
    if not fine or not set(out) <= set(left) | set(right) or (set(left) ^ set(right)) - set(out):
        raise GraphcError(
            f"einsum: {subscripts!r} does not say a product of two tensors",
            remedy="write letters as in 'ij,jk->ik': none twice in a tensor, each of the result "
            "in an operand, each of a single operand in the result",
        )
    return each


def _extents(inputs: tuple[TensorType, ...], subscripts: str) -> dict[str, Dim]:
    found: dict[str, Dim] = {}
    for type, letters in zip(inputs, _letters(subscripts)[:2], strict=True):
        if type.rank != len(letters):
            raise GraphcError(
                f"einsum: {type} has {type.rank} axes, {letters!r} names {len(letters)}",
                remedy="name each axis with a letter",
            )
        for letter, extent in zip(letters, type.shape, strict=True):
            if found.setdefault(letter, extent) != extent:
                raise GraphcError(
                    f"einsum: {letter!r} is {found[letter]} in one tensor and {extent} in another",
                    remedy="axes of one letter have one extent",
                )
    return found


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    """The result is stored in blocks along the axes that are in an operand, those of the second
    innermost.
    """
    dtype = product_dtype("einsum", inputs)
    left, right, out = _letters(attrs["subscripts"])
    extents = _extents(inputs, attrs["subscripts"])
    type = TensorType(dtype, tuple(extents[letter] for letter in out))
    cut = [
        letters[a]
        for letters, i in zip((left, right), inputs, strict=True)
        for a in blocked_axes(i.layout)
    ]
    axes = [str(out.index(letter)) for letter in dict.fromkeys(cut) if letter in out]
    if axes:
        return type.with_layout("_".join(["blocked", *axes]))
    layout = common_layout(inputs)
    return type if blocked_axes(layout) else type.with_layout(layout)


def einsum(a: Node, b: Node, *, subscripts: str) -> Node:
    """The sum of products of a and b over the letters that the result lacks.

    subscripts: a letter an axis, as numpy's einsum has it, for example "ij,jk->ik".
    """
    return make(EINSUM, (a, b), {"subscripts": subscripts})


def _contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    left, right, out = _letters(attrs["subscripts"])
    extents = _extents(inputs, attrs["subscripts"])
    summed = [letter for letter in left if letter not in out]

    def access(at: At) -> Any:
        return tuple(tuple(at[letter] for letter in part) for part in (out, left, right))

    return Contraction(
        tuple((letter, extents[letter]) for letter in out),
        tuple((letter, extents[letter]) for letter in summed),
        access,
    )


def _gradients(g: Node, y: Node, a: Node, b: Node, *, subscripts: str) -> tuple[Node, Node]:
    left, right, out = _letters(subscripts)
    return (
        einsum(g, b, subscripts=f"{out},{right}->{left}"),
        einsum(g, a, subscripts=f"{out},{left}->{right}"),
    )


EINSUM: Op = Op(
    "einsum", "contraction", _rule,
    lambda a, b, *, subscripts: np.einsum(subscripts, a, b, optimize=True), einsum,
    vjp=_gradients, contraction=_contraction, arity=2,
    samples=(
        sample("f32[N,5]", "f32[5,3]", subscripts="ij,jk->ik"),
        sample("f32[N,4,3,2,5]", "f32[3,6,4]", subscripts="nctyx,tkc->nktyx"),
        sample("f64[3,4,2,5]", "f64[3,6,2,5]", subscripts="nctx,nktx->tkc"),
        sample("f32[N,5]", "f32[4,3]", subscripts="ij,jk->ik", raises="'j' is 5"),
        sample("f32[N,5]", "f32[5,3]", subscripts="ij,jk->i", raises="does not say"),
        sample("f32[N,5]", "f32[5,3]", subscripts="ijl,jk->ilk", raises="names 3"),
    ),
)  # fmt: skip
