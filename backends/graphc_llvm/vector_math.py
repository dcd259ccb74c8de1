"""The elementary functions, written with the four operations, for single numbers and vectors, f32
and f64.

LLVM would call the C library once a lane. Methods: exp by Cody-Waite reduction to |r| <= ln2/2 and
its Taylor polynomial; log by m * 2^e with m in [sqrt(1/2), sqrt(2)) and the atanh series; tanh
through expm1, sigmoid through exp, erf by fitted polynomials. Greatest errors, tested in
tests/backends/test_vector_math.py: see `ULP`. Special values follow IEEE 754.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from graphc.ir.types import DType
from graphc_llvm.text import Builder, Val, literal, mangled, vector_type

ULP = {"exp": 2, "log": 3, "tanh": 3, "sigmoid": 3, "erf": 2}


@dataclass(frozen=True)
class Format:
    """A floating-point format: its integer twin, mantissa bits, exponent bias, and polynomial
    lengths.
    """

    dtype: DType
    integer: DType
    mantissa: int
    bias: int
    exp_terms: int
    log_terms: int
    ln2_high: float
    smallest: float

    @property
    def ln2_low(self) -> float:
        """What ln2_high leaves of ln 2."""
        return float(_LN2_LOW[self.dtype])


_LN2_LOW = {DType.f32: -2.12194440e-4, DType.f64: 1.90821492927058770002e-10}
FORMATS = {
    DType.f32: Format(DType.f32, DType.i32, 23, 127, 8, 6, 0.693359375, 2.0**-126),
    DType.f64: Format(
        DType.f64, DType.i64, 52, 1023, 14, 11, 6.93147180369123816490e-01, 2.0**-1022
    ),
}


class Arithmetic:
    """Instructions on values of one shape."""

    def __init__(self, builder: Builder, like: Val) -> None:
        self.builder = builder
        self.dtype, self.lanes = like.dtype, like.lanes
        self.format = FORMATS[like.dtype]
        self.type = like.type

    def constant(self, value: float) -> Val:
        """A float literal."""
        return literal(value, self.dtype, self.lanes)

    def whole(self, value: int) -> Val:
        """An integer literal of the format's integer twin."""
        return literal(value, self.format.integer, self.lanes)

    def operate(self, instruction: str, x: Val, y: Val) -> Val:
        """x instruction y."""
        return Val(
            self.builder.new(f"{instruction} {x.type} {x.text}, {y.text}"), x.dtype, self.lanes
        )

    def fma(self, x: Val, y: Val, z: Val) -> Val:
        """x * y + z with one rounding."""
        t = self.type
        text = self.builder.call(f"llvm.fma.{mangled(t)}", t, (t, x.text), (t, y.text), (t, z.text))
        return Val(text, self.dtype, self.lanes)

    def intrinsic(self, name: str, x: Val) -> Val:
        """A unary intrinsic such as fabs, sqrt, floor, rint."""
        return Val(
            self.builder.call(f"llvm.{name}.{mangled(x.type)}", x.type, (x.type, x.text)),
            x.dtype,
            self.lanes,
        )

    def compare(self, condition: str, x: Val, y: Val) -> Val:
        """A bool."""
        word = "fcmp" if x.dtype.is_float else "icmp"
        return Val(
            self.builder.new(f"{word} {condition} {x.type} {x.text}, {y.text}"),
            DType.bool,
            self.lanes,
        )

    def select(self, condition: Val, x: Val, y: Val) -> Val:
        """x where the condition holds, else y."""
        text = self.builder.new(
            f"select {condition.type} {condition.text}, {x.type} {x.text}, {y.type} {y.text}"
        )
        return Val(text, x.dtype, self.lanes)

    def convert(self, instruction: str, x: Val, dtype: DType) -> Val:
        """x by a conversion instruction (bitcast, sitofp, fptosi)."""
        to = Val("", dtype, self.lanes)
        return Val(
            self.builder.new(f"{instruction} {x.type} {x.text} to {to.type}"), dtype, self.lanes
        )

    def polynomial(self, x: Val, coefficients: Sequence[float]) -> Val:
        """The sum of coefficients[k] * x^k, by Horner's rule."""
        result = self.constant(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            result = self.fma(result, x, self.constant(coefficient))
        return result

    def power_of_two(self, exponent: Val) -> Val:
        """2^exponent for an integer exponent of a normal number."""
        biased = self.operate("add", exponent, self.whole(self.format.bias))
        return self.convert(
            "bitcast", self.operate("shl", biased, self.whole(self.format.mantissa)), self.dtype
        )

    def clamped(self, x: Val, low: float, high: float) -> Val:
        """x, but no less than `low` and no more than `high`; nan stays."""
        inside = self.select(self.compare("ogt", x, self.constant(high)), self.constant(high), x)
        return self.select(
            self.compare("olt", inside, self.constant(low)), self.constant(low), inside
        )

    def reduced(self, x: Val) -> tuple[Val, Val]:
        """(k, r) with x = k ln 2 + r, k an integer, |r| <= ln2/2.

        Of a sum with 1.5 * 2^mantissa the last bits are the whole number.
        """
        large = 1.5 * 2.0**self.format.mantissa
        shifted = self.fma(x, self.constant(1 / math.log(2)), self.constant(large))
        whole = self.convert("bitcast", shifted, self.format.integer)
        k = self.operate("fsub", shifted, self.constant(large))
        r = self.fma(k, self.constant(-self.format.ln2_high), x)
        r = self.fma(k, self.constant(-self.format.ln2_low), r)
        return self.operate("sub", whole, self.whole(_bits(large, self.dtype))), r

    def exp_less_one(self, r: Val) -> Val:
        """e^r - 1 for |r| <= ln2/2."""
        terms = [1 / math.factorial(k) for k in range(2, self.format.exp_terms)]
        return self.fma(self.operate("fmul", r, r), self.polynomial(r, terms), r)


def exp(builder: Builder, x: Val) -> Val:
    """e^x; overflows to inf, underflows through subnormals to 0."""
    a = Arithmetic(builder, x)
    highest = math.log(2) * (a.format.bias + 1) + 1.0
    lowest = -math.log(2) * (a.format.bias + a.format.mantissa) - 1.0
    whole, r = a.reduced(a.clamped(x, lowest, highest))
    power = a.operate("fadd", a.exp_less_one(r), a.constant(1.0))
    half = a.operate("ashr", whole, a.whole(1))
    rest = a.operate("sub", whole, half)
    return a.operate("fmul", a.operate("fmul", power, a.power_of_two(half)), a.power_of_two(rest))


def log(builder: Builder, x: Val) -> Val:
    """Natural logarithm; -inf at 0, nan below."""
    a = Arithmetic(builder, x)
    f = a.format
    small = a.compare("olt", x, a.constant(f.smallest))
    scaled = a.select(small, a.operate("fmul", x, a.constant(2.0**f.mantissa)), x)
    bits = a.convert("bitcast", scaled, f.integer)
    offset = _bits(math.sqrt(0.5), f.dtype)
    shifted = a.operate("sub", bits, a.whole(offset))
    exponent = a.operate("ashr", shifted, a.whole(f.mantissa))
    mantissa_bits = a.operate("sub", bits, a.operate("shl", exponent, a.whole(f.mantissa)))
    m = a.convert("bitcast", mantissa_bits, f.dtype)
    e = a.convert("sitofp", exponent, f.dtype)
    e = a.operate("fadd", e, a.select(small, a.constant(-float(f.mantissa)), a.constant(0.0)))
    d = a.operate("fsub", m, a.constant(1.0))
    s = a.operate("fdiv", d, a.operate("fadd", d, a.constant(2.0)))
    z = a.operate("fmul", s, s)
    series = a.operate("fmul", z, a.polynomial(z, [2 / (2 * k + 1) for k in range(1, f.log_terms)]))
    half_square = a.operate("fmul", a.operate("fmul", d, d), a.constant(0.5))
    # log(1 + d) = d - (d^2/2 - s (d^2/2 + series)), as in fdlibm: d is exact, so little is lost
    inner = a.operate("fmul", s, a.operate("fadd", half_square, series))
    low = a.fma(e, a.constant(f.ln2_low), inner)
    result = a.operate("fadd", a.operate("fsub", low, half_square), d)
    result = a.fma(e, a.constant(f.ln2_high), result)
    result = a.select(a.compare("oeq", x, a.constant(math.inf)), x, result)
    result = a.select(a.compare("oeq", x, a.constant(0.0)), a.constant(-math.inf), result)
    return a.select(a.compare("oge", x, a.constant(0.0)), result, a.constant(math.nan))


def tanh(builder: Builder, x: Val) -> Val:
    """(e - 1)/(e + 1) with e = exp(2x), through e - 1 so that small x stays exact; the sign of x,
    which -0.0 would lose.
    """
    a = Arithmetic(builder, x)
    limit = 10.0 if a.dtype is DType.f32 else 20.0
    inside = a.clamped(x, -limit, limit)
    k, r = a.reduced(a.operate("fadd", inside, inside))
    scale = a.power_of_two(k)
    less_one = a.fma(scale, a.exp_less_one(r), a.operate("fsub", scale, a.constant(1.0)))
    ratio = a.operate("fdiv", less_one, a.operate("fadd", less_one, a.constant(2.0)))
    return _copy_sign(builder, ratio, x)


def sigmoid(builder: Builder, x: Val) -> Val:
    """1 / (1 + exp(-x)); 0 where that is below the least normal number."""
    a = Arithmetic(builder, x)
    f = a.format
    # From 2^(bias + 1) on exp(-x) is inf, and 1 / inf is 0. Above, 1 + exp(-x) is 1 long before.
    inside = a.clamped(x, -math.log(2) * (f.bias + 1), math.log(2) * f.bias)
    negative = Val(builder.new(f"fneg {x.type} {inside.text}"), x.dtype, x.lanes)
    k, r = a.reduced(negative)
    one = a.constant(1.0)
    power = a.operate("fadd", a.exp_less_one(r), one)
    return a.operate("fdiv", one, a.fma(power, a.power_of_two(k), one))


# erf(x) / x - 1 below 1 as a polynomial in x^2, and exp(x^2) (1 - erf(x)) above as one in
# 1 / (1 + x/2): the form of Hastings, "Approximations for digital computers", 1955. Fitted with 60
# digits by least squares, the errors weighted anew until their extremes were level (Lawson, 1961).
# What the fits leave is below 2e-9 and 4e-11 in f32, 8e-18 and 6e-19 in f64.
ERF_BELOW_ONE = {
    DType.f32: (
        0.1283791657266227, -0.3761262582418897, 0.11283585152206227, -0.026853812213346907,
        0.005188328406608677, -0.000801020134641779, 7.85389069340548e-05,
    ),
    DType.f64: (
        0.12837916709551257, -0.3761263890318352, 0.11283791670944185, -0.026866170643111455,
        0.005223977606118579, -0.0008548325929327237, 0.00012055293577467652,
        -1.4924712315825573e-05, 1.6447131771530685e-06, -1.6206315481751506e-07,
        1.3710988537406448e-08, -7.779484755651423e-10,
    ),
}  # fmt: skip
ERF_ABOVE_ONE = {
    DType.f32: (
        0.0018235006080828293, 0.25969175229278046, 0.3968328252478182, -0.06451385051803622,
        0.6367259644271472, -0.2308174912502963,
    ),
    DType.f64: (
        -3.1419397612661526e-06, 0.282188964506625, 0.28081361203599975, 0.2573287661327345,
        0.1185207442262949, 0.3092097723657597, -0.6429309963541857, 1.2603184891761492,
        -1.99626510346798, 1.9436517107377775, -1.1263957149869124, 0.36537251841059115,
        -0.051810220303812,
    ),
}  # fmt: skip


def erf(builder: Builder, x: Val) -> Val:
    """The error function: x + x p(x^2) up to 1, beyond it 1 - exp(-x^2) q(1 / (1 + x/2)) with the
    sign put back.
    """
    a = Arithmetic(builder, x)
    size = a.intrinsic("fabs", x)
    square = a.operate("fmul", x, x)
    below = a.fma(x, a.polynomial(square, ERF_BELOW_ONE[a.dtype]), x)
    one = a.constant(1.0)
    t = a.operate("fdiv", one, a.fma(size, a.constant(0.5), one))
    negative = Val(builder.new(f"fneg {x.type} {square.text}"), x.dtype, x.lanes)
    rest = a.operate("fmul", exp(builder, negative), a.polynomial(t, ERF_ABOVE_ONE[a.dtype]))
    above = _copy_sign(builder, a.operate("fsub", one, rest), x)
    return a.select(a.compare("olt", size, one), below, above)


def power(builder: Builder, x: Val, y: Val) -> Val:
    """x^y as C's pow. f32 goes through f64, so its error is below 1 ULP; that of f64 is at most
    2 |y log x| + 4 ULP.
    """
    if x.dtype is DType.f32:
        wide = power(builder, _widen(builder, x), _widen(builder, y))
        return Val(builder.new(f"fptrunc {wide.type} {wide.text} to {x.type}"), DType.f32, x.lanes)
    a = Arithmetic(builder, x)
    size = a.intrinsic("fabs", x)
    result = exp(builder, a.operate("fmul", y, log(builder, size)))
    whole = a.compare("oeq", a.intrinsic("floor", y), y)
    half = a.operate("fmul", y, a.constant(0.5))
    odd = a.compare("one", a.intrinsic("floor", half), half)
    negative = Val(builder.new(f"fneg {x.type} {result.text}"), x.dtype, x.lanes)
    flipped = a.select(odd, negative, result)
    below = a.select(whole, flipped, a.constant(math.nan))
    result = a.select(a.compare("olt", x, a.constant(0.0)), below, result)
    one = a.operate(
        "or", a.compare("oeq", y, a.constant(0.0)), a.compare("oeq", x, a.constant(1.0))
    )
    return a.select(one, a.constant(1.0), result)


def _widen(builder: Builder, x: Val) -> Val:
    wide = Val("", DType.f64, x.lanes)
    return Val(builder.new(f"fpext {x.type} {x.text} to {wide.type}"), DType.f64, x.lanes)


def _copy_sign(builder: Builder, size: Val, sign: Val) -> Val:
    t = vector_type(size.type, 0)
    return Val(
        builder.call(f"llvm.copysign.{mangled(t)}", t, (t, size.text), (t, sign.text)),
        size.dtype,
        size.lanes,
    )


def _bits(value: float, dtype: DType) -> int:
    if dtype is DType.f32:
        return int(struct.unpack("<i", struct.pack("<f", value))[0])
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


FUNCTIONS = {"exp": exp, "log": log, "tanh": tanh, "sigmoid": sigmoid, "erf": erf}
