"""Quasi-affine index expressions: integer sums of variables, quotients and remainders.

An `Index` is in normal form from birth (a sorted sum of distinct atoms and a constant), so equality
is structural and `a + b - b == a`. Ops state their accesses in it, loops compute addresses from it.
It knows no buffers and no code. Lowering makes hundreds of thousands of these, so they remember
their hashes and texts, and `Index` is a plain class; all are immutable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variable:
    """A loop variable or a size known at run time.

    0 <= value < extent where the extent is known.
    """

    name: str
    extent: int | None = None
    text: str = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _remember(self, self.name, hash((self.name, self.extent)))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Quotient:
    """floor(value / divisor), divisor > 0."""

    value: Index
    divisor: int
    text: str = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = f"({_inside(self.value)} // {self.divisor})"
        _remember(self, text, hash((text, self.value)))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Remainder:
    """value mod divisor, in 0..divisor-1."""

    value: Index
    divisor: int
    text: str = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        text = f"({_inside(self.value)} % {self.divisor})"
        _remember(self, text, hash((text, self.value)))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return self.text


def _remember(atom: Atom, text: str, number: int) -> None:
    object.__setattr__(atom, "text", text)
    object.__setattr__(atom, "_hash", number)


Atom = Variable | Quotient | Remainder


class Index:
    """constant + the sum of coefficient * atom, atoms distinct and no coefficient 0."""

    __slots__ = ("_hash", "_variables", "constant", "terms")

    def __init__(self, terms: tuple[tuple[Atom, int], ...] = (), constant: int = 0) -> None:
        self.terms = terms
        self.constant = constant
        self._hash: int | None = None
        self._variables: frozenset[Variable] | None = None

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Index):
            return NotImplemented
        return self.constant == other.constant and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.terms, self.constant))
        return self._hash

    def __repr__(self) -> str:
        return f"Index({self})"

    def __add__(self, other: Index | int) -> Index:
        if isinstance(other, int):
            return Index(self.terms, self.constant + other) if other else self
        constant = self.constant + other.constant
        if not other.terms:
            return Index(self.terms, constant) if other.constant else self
        if not self.terms:
            return Index(other.terms, constant)
        total = dict(self.terms)
        for atom, coefficient in other.terms:
            total[atom] = total.get(atom, 0) + coefficient
        return Index(_sorted(total), constant)

    __radd__ = __add__

    def __mul__(self, factor: int) -> Index:
        if factor == 1:
            return self
        if factor == 0:
            return Index()
        return Index(tuple((a, c * factor) for a, c in self.terms), self.constant * factor)

    __rmul__ = __mul__

    def __neg__(self) -> Index:
        return self * -1

    def __sub__(self, other: Index | int) -> Index:
        return self + (-other)

    def __rsub__(self, other: int) -> Index:
        return -self + other

    def __floordiv__(self, divisor: int) -> Index:
        if divisor == 1:
            return self
        whole, rest = self._split(divisor)
        low, high = rest.bounds()
        if low is not None and high is not None and low // divisor == high // divisor:
            return whole + low // divisor
        return whole + Index(((Quotient(rest, divisor), 1),))

    def __mod__(self, divisor: int) -> Index:
        if divisor == 1:
            return Index()
        _, rest = self._split(divisor)
        low, high = rest.bounds()
        if low is not None and high is not None and low // divisor == high // divisor:
            return rest - divisor * (low // divisor)
        return Index(((Remainder(rest, divisor), 1),))

    def _split(self, divisor: int) -> tuple[Index, Index]:
        """(whole, rest) with self = whole * divisor + rest."""
        whole = {a: c // divisor for a, c in self.terms if c % divisor == 0}
        rest = {a: c for a, c in self.terms if c % divisor}
        inner = Index(_sorted(rest), self.constant % divisor)
        return Index(_sorted(whole), self.constant // divisor), inner

    @property
    def is_constant(self) -> bool:
        """Whether no variable occurs."""
        return not self.terms

    def coefficient(self, variable: Variable) -> int:
        """The factor of `variable` outside any quotient or remainder."""
        for atom, coefficient in self.terms:
            if atom == variable:
                return coefficient
        return 0

    def without(self, variable: Variable) -> Index:
        """Self less the linear term of `variable`."""
        if variable not in self.variables:
            return self
        return Index(tuple((a, c) for a, c in self.terms if a != variable), self.constant)

    @property
    def variables(self) -> frozenset[Variable]:
        """Every variable that occurs, also inside quotients and remainders."""
        if self._variables is None:
            found: set[Variable] = set()
            for atom, _ in self.terms:
                if isinstance(atom, Variable):
                    found.add(atom)
                else:
                    found |= atom.value.variables
            self._variables = frozenset(found)
        return self._variables

    def is_linear_in(self, variable: Variable) -> bool:
        """Whether `variable` occurs in no quotient or remainder."""
        return not any(
            variable in atom.value.variables
            for atom, _ in self.terms
            if not isinstance(atom, Variable)
        )

    def bounds(self) -> tuple[int | None, int | None]:
        """Least and greatest value by interval arithmetic; None where unknown."""
        low: int | None = self.constant
        high: int | None = self.constant
        for atom, coefficient in self.terms:
            least, most = _atom_bounds(atom)
            if coefficient < 0:
                least, most = most, least
            low = None if low is None or least is None else low + coefficient * least
            high = None if high is None or most is None else high + coefficient * most
        return low, high

    def substitute(self, values: Mapping[Variable, Index]) -> Index:
        """Self with variables replaced."""
        if self.variables.isdisjoint(values):
            return self
        constant = self.constant
        total: dict[Atom, int] = {}
        for atom, coefficient in self.terms:
            if isinstance(atom, Variable):
                new = values.get(atom)
                if new is None:
                    total[atom] = total.get(atom, 0) + coefficient
                    continue
            else:
                inner = atom.value.substitute(values)
                divided = isinstance(atom, Quotient)
                new = inner // atom.divisor if divided else inner % atom.divisor
            constant += new.constant * coefficient
            for part, factor in new.terms:
                total[part] = total.get(part, 0) + factor * coefficient
        return Index(_sorted(total), constant)

    def at(self, numbers: Mapping[Variable, int]) -> Index:
        """Self with variables replaced by numbers."""
        if self.variables.isdisjoint(numbers):
            return self
        constant = self.constant
        kept: list[tuple[Atom, int]] = []
        rest = Index()
        for atom, coefficient in self.terms:
            if isinstance(atom, Variable):
                number = numbers.get(atom)
                if number is None:
                    kept.append((atom, coefficient))
                else:
                    constant += number * coefficient
                continue
            inner = atom.value.at(numbers)
            if inner is atom.value:
                kept.append((atom, coefficient))
            else:
                divided = isinstance(atom, Quotient)
                new = inner // atom.divisor if divided else inner % atom.divisor
                rest = rest + new * coefficient
        return Index(tuple(kept), constant) + rest

    def evaluate(self, value: Callable[[Variable], int]) -> int:
        """The number that `self` stands for when each variable has `value(variable)`."""
        total = self.constant
        for atom, coefficient in self.terms:
            if isinstance(atom, Variable):
                total += coefficient * value(atom)
            elif isinstance(atom, Quotient):
                total += coefficient * (atom.value.evaluate(value) // atom.divisor)
            else:
                total += coefficient * (atom.value.evaluate(value) % atom.divisor)
        return total

    def __str__(self) -> str:
        parts = []
        for atom, coefficient in self.terms:
            sign = "-" if coefficient < 0 else "+"
            size = "" if abs(coefficient) == 1 else f"{abs(coefficient)}*"
            parts.append(f"{sign} {size}{atom}")
        if self.constant or not parts:
            parts.append(f"{'-' if self.constant < 0 else '+'} {abs(self.constant)}")
        text = " ".join(parts)
        return text[2:] if text.startswith("+ ") else "-" + text[2:]


def index(value: int | Variable | Index) -> Index:
    """`value` as an Index."""
    if isinstance(value, Index):
        return value
    if isinstance(value, Variable):
        if value.extent == 1:
            return Index()
        return Index(((value, 1),))
    return Index((), int(value))


def weighted(indices: Iterable[Index], factors: Iterable[int]) -> Index:
    """The sum of index * factor, as many of one as of the other."""
    constant = 0
    total: dict[Atom, int] = {}
    for i, factor in zip(indices, factors, strict=True):
        if factor:
            constant += i.constant * factor
            for atom, coefficient in i.terms:
                total[atom] = total.get(atom, 0) + coefficient * factor
    return Index(_sorted(total), constant)


def _inside(value: Index) -> str:
    """The text of a dividend: in brackets if it is a sum."""
    text = str(value)
    return f"({text})" if len(value.terms) + bool(value.constant) > 1 else text


def _sorted(terms: Mapping[Atom, int]) -> tuple[tuple[Atom, int], ...]:
    kept = [term for term in terms.items() if term[1]]
    if len(kept) > 1:
        kept.sort(key=_text)
    return tuple(kept)


def _text(term: tuple[Atom, int]) -> str:
    return term[0].text


def _atom_bounds(atom: Atom) -> tuple[int | None, int | None]:
    if isinstance(atom, Variable):
        return 0, None if atom.extent is None else atom.extent - 1
    if isinstance(atom, Remainder):
        return 0, atom.divisor - 1
    low, high = atom.value.bounds()
    return (
        None if low is None else low // atom.divisor,
        None if high is None else high // atom.divisor,
    )
