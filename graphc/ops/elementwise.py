"""Elementwise ops, one row each: meaning in numpy, scalar body, gradient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.rewrite import Rule
from graphc.ir.types import DType, TensorType, rounded_to_bf16
from graphc.ops.create import full, plain_number
from graphc.ops.families import BINARY_SAMPLES, Operand, elementwise
from graphc.ops.op import Builder, Op, common_layout, sample

NUMBERS = (*BINARY_SAMPLES, sample("i32[N,3]", "i32[3]", values="labels:9"),
           sample("u8[N,17]", "u8[17]"))  # fmt: skip


def _like(value: float, x: Node) -> Node:
    return full(value, shape=x.tensor.shape, dtype=x.tensor.dtype)


# -- arithmetic ------------------------------------------------------------------------------------

ADD: Op = elementwise(
    "add", arity=2, dtypes="number", samples=NUMBERS,
    numpy=np.add, body=lambda s, x, y: s.add(x, y),
    vjp=lambda g, z, x, y: (g, g),
    doc="x + y.",
    rules=(Rule("add-zero", "add(x, -0.0)", "x"), Rule("zero-add", "add(-0.0, x)", "x"),
           Rule("add-neg", "add(x, neg(y))", "sub(x, y)")),
)  # fmt: skip
add: Builder = ADD.build

SUB: Op = elementwise(
    "sub", arity=2, dtypes="number", samples=NUMBERS,
    numpy=np.subtract, body=lambda s, x, y: s.sub(x, y),
    vjp=lambda g, z, x, y: (g, neg(g)),
    doc="x - y.",
    rules=(Rule("sub-zero", "sub(x, 0.0)", "x"), Rule("sub-neg", "sub(x, neg(y))", "add(x, y)")),
)  # fmt: skip
sub: Builder = SUB.build

MUL: Op = elementwise(
    "mul", arity=2, dtypes="number", samples=NUMBERS,
    numpy=np.multiply, body=lambda s, x, y: s.mul(x, y),
    vjp=lambda g, z, x, y: (mul(g, y), mul(g, x)),
    doc="x * y.",
    rules=(Rule("mul-one", "mul(x, 1)", "x"), Rule("one-mul", "mul(1, x)", "x"),
           Rule("mul-neg", "mul(neg(x), neg(y))", "mul(x, y)")),
)  # fmt: skip
mul: Builder = MUL.build

DIV: Op = elementwise(
    "div", arity=2,
    samples=(sample("f32[N,3]", "f32[N,3]", values=("normal", "positive")),
             sample("f64[N,2,3]", "f64[3]", values=("normal", "positive")),
             sample("f32[]", "f32[4]", values=("normal", "positive")),
             sample("i32[3]", "i32[3]", values="labels:9", raises="float")),
    numpy=np.divide, body=lambda s, x, y: s.div(x, y),
    vjp=lambda g, z, x, y: (div(g, y), neg(div(mul(g, z), y))),
    doc="x / y, by IEEE 754: x / 0 is infinite or nan.",
    rules=(Rule("div-one", "div(x, 1)", "x"),),
)  # fmt: skip
div: Builder = DIV.build

NEG: Op = elementwise(
    "neg", arity=1, dtypes="number",
    numpy=np.negative, body=lambda s, x: s.neg(x),
    vjp=lambda g, y, x: (neg(g),),
    doc="-x.",
    rules=(Rule("neg-neg", "neg(neg(x))", "x"),),
)  # fmt: skip
neg: Builder = NEG.build

ABS: Op = elementwise(
    "abs", arity=1,
    numpy=np.abs, body=lambda s, x: s.abs(x),
    vjp=lambda g, y, x: (where(less(x, 0.0), neg(g), where(less(0.0, x), g, _like(0.0, g))),),
    doc="|x|; its derivative at 0 is 0.",
    rules=(Rule("abs-neg", "abs(neg(x))", "abs(x)"), Rule("abs-abs", "abs(abs(x))", "abs(x)")),
)  # fmt: skip
absolute: Builder = ABS.build

# -- transcendental --------------------------------------------------------------------------------

EXP: Op = elementwise(
    "exp", arity=1,
    numpy=np.exp, body=lambda s, x: s.exp(x),
    vjp=lambda g, y, x: (mul(g, y),),
    doc="e to the power of x.",
)  # fmt: skip
exp: Builder = EXP.build

LOG: Op = elementwise(
    "log", arity=1,
    samples=(sample("f32[N,3]", values="positive"), sample("f64[4]", values="positive")),
    numpy=np.log, body=lambda s, x: s.log(x),
    vjp=lambda g, y, x: (div(g, x),),
    doc="Natural logarithm.",
)  # fmt: skip
log: Builder = LOG.build

SQRT: Op = elementwise(
    "sqrt", arity=1,
    samples=(sample("f32[N,3]", values="positive"), sample("f64[4]", values="positive")),
    numpy=np.sqrt, body=lambda s, x: s.sqrt(x),
    vjp=lambda g, y, x: (div(mul(g, 0.5), y),),
    doc="Square root.",
)  # fmt: skip
sqrt: Builder = SQRT.build

TANH: Op = elementwise(
    "tanh", arity=1,
    numpy=np.tanh, body=lambda s, x: s.tanh(x),
    vjp=lambda g, y, x: (mul(g, sub(1.0, mul(y, y))),),
    doc="Hyperbolic tangent.",
)  # fmt: skip
tanh: Builder = TANH.build


def _sigmoid_numpy(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


SIGMOID: Op = elementwise(
    "sigmoid", arity=1,
    numpy=_sigmoid_numpy, body=lambda s, x: s.sigmoid(x),
    vjp=lambda g, y, x: (mul(g, mul(y, sub(1.0, y))),),
    doc="1 / (1 + exp(-x)).",
)  # fmt: skip
sigmoid: Builder = SIGMOID.build


def erf_numpy(x: Any) -> Any:
    """The error function of an array; the C library's, since numpy has none."""
    flat = np.ravel(x).astype(np.float64).tolist()
    return np.fromiter(map(math.erf, flat), x.dtype, x.size).reshape(x.shape)


ERF: Op = elementwise(
    "erf", arity=1,
    numpy=erf_numpy, body=lambda s, x: s.erf(x),
    vjp=lambda g, y, x: (mul(g, mul(exp(neg(mul(x, x))), 2 / math.sqrt(math.pi))),),
    doc="The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
)  # fmt: skip
erf: Builder = ERF.build

POWER: Op = elementwise(
    "power", arity=2,
    samples=(sample("f32[N,3]", "f32[N,3]", values=("positive", "normal")),
             sample("f64[3,1]", "f64[1,4]", values=("positive", "normal"))),
    numpy=np.power, body=lambda s, x, y: s.pow(x, y),
    vjp=lambda g, z, x, y: (
        mul(g, mul(y, power(x, sub(y, 1.0)))),
        where(less(0.0, x), mul(g, mul(z, log(where(less(0.0, x), x, _like(1.0, x))))),
              _like(0.0, g)),
    ),
    doc="x to the power of y, as C's pow. The gradient for y is taken as 0 where x is not above 0.",
    rules=(Rule("power-one", "power(x, 1)", "x"),
           Rule("power-two", "power(x, 2)", "mul(x, x)", ulps=1)),
)  # fmt: skip
power: Builder = POWER.build

# -- piecewise linear ------------------------------------------------------------------------------

RELU: Op = elementwise(
    "relu", arity=1,
    numpy=lambda x: np.where(x <= 0, np.zeros_like(x), x),
    body=lambda s, x: s.select(s.less_equal(x, s.constant(0.0, x)), s.constant(0.0, x), x),
    vjp=lambda g, y, x: (where(less(0.0, y), g, _like(0.0, g)),),
    doc="max(x, 0); its derivative at 0 is 0, nan stays nan.",
    rules=(Rule("relu-relu", "relu(relu(x))", "relu(x)"),),
)  # fmt: skip
relu: Builder = RELU.build

LEAKY_RELU: Op = elementwise(
    "leaky_relu", arity=1,
    samples=(sample("f32[N,3]", slope=0.01), sample("f64[4]", slope=0.2)),
    numpy=lambda x, *, slope: np.where(x < 0, x * np.asarray(slope, x.dtype), x),
    body=lambda s, x, *, slope: s.select(
        s.less(x, s.constant(0.0, x)), s.mul(x, s.constant(slope, x)), x
    ),
    vjp=lambda g, y, x, *, slope: (where(less(0.0, x), g, mul(g, slope)),),
    doc="x where it is not below 0, slope * x elsewhere.",
)  # fmt: skip


def leaky_relu(x: Node, *, slope: float = 0.01) -> Node:
    """x where it is not below 0, slope * x elsewhere."""
    built: Node = LEAKY_RELU.build(x, slope=float(plain_number(slope, "leaky_relu: slope")))
    return built


MAXIMUM: Op = elementwise(
    "maximum", arity=2, dtypes="number", samples=NUMBERS,
    numpy=np.maximum, body=lambda s, x, y: s.maximum(x, y),
    vjp=lambda g, z, x, y: (
        where(less(x, y), _like(0.0, g), where(less(y, x), g, mul(g, 0.5))),
        where(less(y, x), _like(0.0, g), where(less(x, y), g, mul(g, 0.5))),
    ),
    doc="The larger of x and y; nan if either is nan. At a tie the gradient is split in halves.",
    rules=(Rule("maximum-same", "maximum(x, x)", "x"),),
)  # fmt: skip
maximum: Builder = MAXIMUM.build

MINIMUM: Op = elementwise(
    "minimum", arity=2, dtypes="number", samples=NUMBERS,
    numpy=np.minimum, body=lambda s, x, y: s.minimum(x, y),
    vjp=lambda g, z, x, y: (
        where(less(y, x), _like(0.0, g), where(less(x, y), g, mul(g, 0.5))),
        where(less(x, y), _like(0.0, g), where(less(y, x), g, mul(g, 0.5))),
    ),
    doc="The smaller of x and y; nan if either is nan. At a tie the gradient is split in halves.",
    rules=(Rule("minimum-same", "minimum(x, x)", "x"),),
)  # fmt: skip
minimum: Builder = MINIMUM.build

# -- comparisons and choice ------------------------------------------------------------------------


def _comparison(name: str, numpy: Any, doc: str) -> Op:
    return elementwise(
        name, arity=2, dtypes="number", result=DType.bool, samples=NUMBERS,
        numpy=numpy, body=lambda s, x, y: s.binary(name, x, y),
        vjp=lambda g, z, x, y: (None, None),
        doc=doc,
    )  # fmt: skip


less: Builder = _comparison("less", np.less, "x < y; false for nan.").build
less_equal: Builder = _comparison("less_equal", np.less_equal, "x <= y; false for nan.").build
equal: Builder = _comparison("equal", np.equal, "x == y; false for nan.").build
not_equal: Builder = _comparison("not_equal", np.not_equal, "x != y; true for nan.").build


def greater(x: Operand, y: Operand) -> Node:
    """x > y; false for nan."""
    found: Node = less(y, x)
    return found


def greater_equal(x: Operand, y: Operand) -> Node:
    """x >= y; false for nan."""
    found: Node = less_equal(y, x)
    return found


def _where_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    condition, x, y = inputs
    if condition.dtype is not DType.bool:
        raise GraphcError(
            f"where: the condition is {condition}", remedy="compare, to get a bool tensor"
        )
    if x.dtype is not y.dtype or not condition.shape == x.shape == y.shape:
        raise GraphcError(
            f"where: {condition}, {x} and {y} differ", remedy="give one shape and one dtype"
        )
    return TensorType(x.dtype, x.shape).with_layout(common_layout(inputs))


def where(condition: Node, x: Operand, y: Operand) -> Node:
    """x where the condition holds, else y; all three broadcast."""
    from graphc.ops.families import broadcast_together

    kind = next((o.tensor.dtype for o in (x, y) if isinstance(o, Node)), DType.f32)
    x, y = (o if isinstance(o, Node) else full(o, dtype=kind) for o in (x, y))
    return make(WHERE, broadcast_together("where", (condition, x, y)))


WHERE = Op(
    "where", "elementwise", _where_rule, np.where, where,
    vjp=lambda g, z, c, x, y: (None, where(c, g, _like(0.0, g)), where(c, _like(0.0, g), g)),
    body=lambda s, c, x, y: s.select(c, x, y),
    samples=(sample("bool[N,3]", "f32[N,3]", "f32[N,3]"), sample("bool[3]", "f32[N,3]", "f32[]"),
             sample("f32[3]", "f32[3]", "f32[3]", raises="condition")),
    rules=(Rule("where-same", "where(c, x, x)", "x"),),
    arity=3,
)  # fmt: skip


def _logical(name: str, arity: int, numpy: Any, doc: str) -> Op:
    def rule_body(s: Any, *x: Any) -> Any:
        return s.unary(name, *x) if arity == 1 else s.binary(name, *x)

    types = ("bool[N,3]",) * arity
    return elementwise(
        name, arity=arity, dtypes="any", result=DType.bool, samples=(sample(*types),),
        numpy=numpy, body=rule_body, vjp=lambda g, z, *x: (None,) * arity, doc=doc,
    )  # fmt: skip


logical_and: Builder = _logical("logical_and", 2, np.logical_and, "Both x and y.").build
logical_or: Builder = _logical("logical_or", 2, np.logical_or, "x or y or both.").build
logical_not: Builder = _logical("logical_not", 1, np.logical_not, "Not x.").build


def _cast_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    pair = {inputs[0].dtype, attrs["dtype"]}
    if DType.bf16 in pair and not pair <= {DType.bf16, DType.f32, DType.f64}:
        raise GraphcError(
            f"cast: {inputs[0]} to {attrs['dtype']}",
            remedy="to and from bf16 go floats: cast to f32 in between",
        )
    return TensorType(attrs["dtype"], inputs[0].shape).with_layout(common_layout(inputs))


def cast(x: Node, *, dtype: DType) -> Node:
    """x in another dtype; floats to integers round towards zero, anything but 0 is true.

    To and from bf16 go floats alone; bf16 is only stored, moved and multiplied.
    """
    if not isinstance(dtype, DType):
        raise GraphcError(f"cast: {dtype!r} is no dtype", remedy="use DType.f32, for example")
    return x if x.tensor.dtype is dtype else make(CAST, (x,), {"dtype": dtype})


CAST = Op(
    "cast", "elementwise", _cast_rule,
    numpy=lambda x, *, dtype: rounded_to_bf16(x) if dtype is DType.bf16 else x.astype(dtype.numpy),
    build=cast,
    vjp=lambda g, y, x, *, dtype: (
        cast(g, dtype=x.tensor.dtype) if dtype.is_float and x.tensor.dtype.is_float else None,
    ),
    body=lambda s, x, *, dtype: s.cast(x, dtype),
    samples=(sample("f32[N,3]", dtype=DType.f64),
             sample("i32[N]", dtype=DType.f32, values="labels:9"),
             sample("bool[4]", dtype=DType.f32), sample("f32[4]", dtype=DType.i32),
             sample("i32[N,17]", dtype=DType.u8), sample("u8[N,17]", dtype=DType.i32),
             sample("f32[N,17]", dtype=DType.u8, values="positive"),
             sample("u8[N,17]", dtype=DType.f32),
             sample("i32[4]", dtype=DType.bf16, raises="cast to f32 in between")),
    storage=True,
    arity=1,
)  # fmt: skip

COPY = elementwise(
    "copy", arity=1, dtypes="any",
    numpy=lambda x: np.array(x), body=lambda s, x: x,
    vjp=lambda g, y, x: (g,),
    doc="x in memory of its own.",
)  # fmt: skip
copy = COPY.build
