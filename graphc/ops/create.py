"""Tensors from nothing: constants, positions, the batch size, and counter-based random numbers.

Random numbers are Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011): element i of key k is a function of (k, i) alone, so results do not depend on
threads, layout or batch splits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.index import Index, Variable, index
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, N, Shape, TensorType, normalize_axis, whole_numbers
from graphc.ops.op import Op, sample
from graphc.ops.scalar import Value, Vocabulary

BATCH = Variable("N")


def _extents(shape: Shape, n: int) -> tuple[int, ...]:
    return tuple(n if d is N else int(d) for d in shape)  # type: ignore[arg-type]


def _declared(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    return TensorType(attrs["dtype"], attrs["shape"])


def plain_number(value: object, what: str) -> float | int | bool:
    """`value` as a Python number. Raises GraphcError for anything but a number."""
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, float | int):
        raise GraphcError(
            f"{what} {value!r} is not a number", remedy="give a number, or a traced tensor"
        )
    if isinstance(value, int) and abs(value) > 2**63:
        raise GraphcError(f"{what} {value} is beyond 64 bits", remedy="give a smaller number")
    return value


def _full_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    value, dtype = attrs["value"], attrs["dtype"]
    kind = float if dtype.is_float else bool if dtype is DType.bool else int
    if type(value) is not kind:
        raise GraphcError(
            f"full: value {value!r} is not a {kind.__name__}, as {dtype} needs",
            remedy=f"give {kind.__name__}({value!r})",
        )
    if dtype.is_integer and not np.iinfo(dtype.value).min <= value <= np.iinfo(dtype.value).max:
        raise GraphcError(
            f"full: {value} is out of the range of {dtype}", remedy="use i64, or a smaller number"
        )
    return _declared(inputs, attrs)


def full(value: float | int | bool, *, shape: Shape = (), dtype: DType = DType.f32) -> Node:
    """A tensor whose elements all are `value`."""
    value = plain_number(value, "full: value")
    if dtype.is_float:
        value = float(value)
    elif dtype is DType.bool:
        value = bool(value)
    elif math.isfinite(value) and int(value) == value:
        value = int(value)
    else:
        raise GraphcError(
            f"{value!r} is no whole number, as {dtype} needs", remedy="cast the other operand"
        )
    return make(FULL, (), {"value": value, "dtype": dtype, "shape": tuple(shape)})


FULL: Op = Op(
    "full", "create", _full_rule,
    numpy=lambda *, n, value, dtype, shape: np.full(_extents(shape, n), value, dtype.numpy),
    build=full,
    vjp=lambda g, y, **_: (),
    body=lambda s, at, *, value, dtype, shape: s.literal(value, dtype),
    samples=(sample(value=0.5, dtype=DType.f32, shape=(N, 3)),
             sample(value=-3, dtype=DType.i64, shape=(4,)),
             sample(value=True, dtype=DType.bool, shape=()),
             sample(value=255, dtype=DType.u8, shape=(N, 3)),
             sample(value=256, dtype=DType.u8, shape=(2,), raises="out of the range of u8"),
             sample(value=1.5, dtype=DType.i32, shape=(2,), raises="no whole number")),
    arity=0,
)  # fmt: skip


def iota(*, axis: int, shape: Shape, dtype: DType = DType.i32) -> Node:
    """A tensor whose elements are their own position along `axis`."""
    return make(
        IOTA,
        (),
        {"axis": normalize_axis(axis, len(shape), "iota"), "shape": tuple(shape), "dtype": dtype},
    )


def _iota_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    normalize_axis(attrs["axis"], len(attrs["shape"]), "iota")
    if attrs["dtype"] is DType.bool:
        raise GraphcError("iota: positions are not bool", remedy="use i32, i64, f32 or f64")
    return _declared(inputs, attrs)


def _iota_numpy(*, n: int, axis: int, shape: Shape, dtype: DType) -> np.ndarray[Any, Any]:
    extents = _extents(shape, n)
    line = np.arange(extents[axis]).reshape([-1 if i == axis else 1 for i in range(len(extents))])
    return np.broadcast_to(line, extents).astype(dtype.numpy)


IOTA: Op = Op(
    "iota", "create", _iota_rule, _iota_numpy, iota,
    vjp=lambda g, y, **_: (),
    body=lambda s, at, *, axis, shape, dtype: s.position(at[axis], dtype),
    samples=(sample(axis=1, shape=(N, 5), dtype=DType.i32),
             sample(axis=0, shape=(N, 2), dtype=DType.f32),
             sample(axis=1, shape=(N, 300), dtype=DType.u8),
             sample(axis=2, shape=(N, 5), dtype=DType.i32, raises="axis 2")),
    arity=0,
)  # fmt: skip


def batch_size(*, dtype: DType = DType.f32) -> Node:
    """The number of samples in the batch, as a scalar."""
    return make(BATCH_SIZE, (), {"dtype": dtype})


BATCH_SIZE: Op = Op(
    "batch_size", "create",
    rule=lambda inputs, attrs: TensorType(attrs["dtype"], ()),
    numpy=lambda *, n, dtype: np.asarray(n, dtype.numpy),
    build=batch_size,
    vjp=lambda g, y, **_: (),
    body=lambda s, at, *, dtype: s.position(index(BATCH), dtype),
    samples=(sample(dtype=DType.f32), sample(dtype=DType.i64)),
    arity=0,
)  # fmt: skip

ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
PARITY = 0x1BD11BDA


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value


def threefry(s: Vocabulary, key: tuple[Value, Value], counter: tuple[Value, Value]) -> Value:
    """The first word of Threefry-2x32-20 of 32-bit words, as scalar code."""
    third = s.binary(
        "bit_xor", s.binary("bit_xor", key[0], key[1]), s.constant(_signed(PARITY), key[0])
    )
    keys = (*key, third)
    a, b = s.add(counter[0], keys[0]), s.add(counter[1], keys[1])
    for round in range(20):
        bits = ROTATIONS[round % 8]
        a = s.add(a, b)
        high = s.binary("shift_left", b, s.constant(bits, b))
        low = s.binary("shift_right", b, s.constant(32 - bits, b))
        b = s.binary("bit_xor", s.binary("bit_xor", high, low), a)
        if round % 4 == 3:
            turn = round // 4 + 1
            a = s.add(a, keys[turn % 3])
            b = s.add(s.add(b, keys[(turn + 1) % 3]), s.constant(turn, b))
    return a


def threefry_numpy(key: tuple[int, int], counter: tuple[Any, Any]) -> np.ndarray[Any, Any]:
    """The same function on numpy arrays of counters, for the oracle."""
    with np.errstate(over="ignore"):
        keys = [np.uint32(k & 0xFFFFFFFF) for k in key]
        keys.append(keys[0] ^ keys[1] ^ np.uint32(PARITY))
        a, b = (
            np.asarray(counter[0], np.uint32) + keys[0],
            np.asarray(counter[1], np.uint32) + keys[1],
        )
        for round in range(20):
            bits = np.uint32(ROTATIONS[round % 8])
            a = a + b
            b = ((b << bits) | (b >> (np.uint32(32) - bits))) ^ a
            if round % 4 == 3:
                turn = round // 4 + 1
                a = a + keys[turn % 3]
                b = b + keys[(turn + 1) % 3] + np.uint32(turn)
    return a


def random_uniform(key: Node, *, shape: Shape, stream: int = 0) -> Node:
    """Uniform f32 in [0, 1) with 24 random bits.

    `key` is an i32 scalar, `stream` tells uses of one key apart.
    """
    return make(RANDOM_UNIFORM, (key,), {"shape": tuple(shape), "stream": stream})


def _random_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    if inputs[0].dtype is not DType.i32 or inputs[0].shape != ():
        raise GraphcError(f"random_uniform: the key is {inputs[0]}", remedy="give an i32[] key")
    whole_numbers((attrs["stream"],), "random_uniform: stream", least=0)
    return TensorType(DType.f32, attrs["shape"])


def _random_numpy(key: Any, *, n: int, shape: Shape, stream: int) -> np.ndarray[Any, Any]:
    extents = _extents(shape, n)
    sample, inside = _counters(shape, tuple(np.indices(extents)))
    bits = threefry_numpy((int(key), stream), (sample, inside))
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _counters(shape: Shape, at: tuple[Any, ...]) -> tuple[Any, Any]:
    """(position in the batch, position inside the sample) of an element.

    `at` holds numbers, arrays or indices.
    """
    sample: Any = 0
    inside: Any = 0
    for dim, i in zip(shape, at, strict=True):
        if dim is N:
            sample = i
        else:
            inside = inside * dim + i
    return sample, inside


def _random_body(
    s: Vocabulary, at: tuple[Index, ...], key: Value, *, shape: Shape, stream: int
) -> Value:
    sample, inside = _counters(shape, at)
    counter = (s.position(index(sample), DType.i32), s.position(index(inside), DType.i32))
    bits = threefry(s, (key, s.constant(stream, key)), counter)
    top = s.binary("shift_right", bits, s.constant(8, bits))
    return s.mul(s.cast(top, DType.f32), s.literal(2.0**-24, DType.f32))


RANDOM_UNIFORM: Op = Op(
    "random_uniform", "create", _random_rule, _random_numpy, random_uniform,
    vjp=lambda g, y, key, **_: (None,),
    body=_random_body,
    samples=(sample("i32[]", shape=(N, 3, 4), stream=1), sample("i32[]", shape=(5,), stream=0),
             sample("f32[]", shape=(5,), stream=0, raises="key")),
    arity=1,
)  # fmt: skip
