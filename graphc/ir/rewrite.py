"""Rewriting: rebuild a graph bottom-up, and rules written as rows of algebra.

A `Rule` is ``Rule("mul-one", "mul(x, 1)", "x")``: a name, a left side, a right side, and perhaps a
guard on what the variables matched. A number matches a constant of that value in any shape. What
algebra cannot say is a `FunctionRule`. Nothing here recurses over a graph, only over a rule's own
few symbols, and nothing here knows an op.
"""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from graphc.base.errors import InternalError
from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.node import Node, make, remake
from graphc.ir.types import TensorType

Bindings = dict[str, Node]
LIMIT_PER_NODE = 64
LIMIT_OF_ROUNDS = 64


def rebuild(graph: Graph, transform: Callable[[Node, tuple[Node, ...]], Node]) -> Graph:
    """`graph` with every node replaced by ``transform(node, new inputs)``.

    The same object if nothing changed. Input nodes pass through unchanged; what is made for a node
    keeps its line and origin.
    """
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.op.name == "input":
            new[node] = node
            continue
        with written_at(node.location, node.origin):
            new[node] = transform(node, tuple(new[i] for i in node.inputs))
    outputs = [new[o] for o in graph.outputs]
    return Graph(graph.name, graph.inputs, outputs, graph.donations)


def substitute(graph: Graph, replacements: Mapping[Node, Node]) -> dict[Node, Node]:
    """For every node of `graph` its copy in which `replacements` stand for their keys."""
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        found = replacements.get(node)
        new[node] = found if found is not None else remake(node, tuple(new[i] for i in node.inputs))
    return new


class Rewrite(ABC):
    """One named step: what replaces a node, if it applies.

    heads: the ops at whose nodes it is tried; empty for all.
    """

    name: str

    @property
    @abstractmethod
    def heads(self) -> tuple[str, ...]:
        """Names of the ops that it looks at; empty for all."""

    @abstractmethod
    def replacement(self, node: Node) -> Node | None:
        """What stands for `node`, whatever its type; None if the step does not apply."""

    def apply(self, node: Node) -> Node | None:
        """The node that replaces `node`; None if the step does not apply or changes its type."""
        found = self.replacement(node)
        return found if found is not None and found.type == node.type else None


@dataclass(frozen=True)
class Rule(Rewrite):
    """One row of algebra: `left` becomes `right` where `guard` holds.

    Sides are calls of ops without attributes on variables, numbers, True and False; a variable on
    the right must occur on the left. constants: the variables that only match constants. ulps: by
    how many units in the last place the two sides may differ; 0 is the same bits for every input,
    -0.0, nan and infinities included; None is true of real numbers only.
    """

    name: str
    left: str
    right: str
    guard: Callable[[Mapping[str, Node]], bool] | None = None
    constants: tuple[str, ...] = ()
    ulps: int | None = 0
    _left: ast.expr = field(init=False, repr=False, compare=False)
    _right: ast.expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for side in ("left", "right"):
            tree = ast.parse(getattr(self, side), mode="eval").body
            object.__setattr__(self, f"_{side}", tree)
        for part in (*ast.walk(self._left), *ast.walk(self._right)):
            if isinstance(part, ast.expr) and not _is_pattern(part):
                raise InternalError(
                    f"rule {self.name}: a side is made of calls, names and numbers, "
                    f"not {ast.unparse(part)}"
                )
        unknown = _variables(self._right) - _variables(self._left)
        if unknown or not isinstance(self._left, ast.Call):
            what = f"uses {sorted(unknown)}" if unknown else "does not begin with an op"
            raise InternalError(f"rule {self.name}: {self.left} -> {self.right} {what}")

    @property
    def head(self) -> str:
        """The op at the root of the left side."""
        assert isinstance(self._left, ast.Call) and isinstance(self._left.func, ast.Name)
        return self._left.func.id

    @property
    def heads(self) -> tuple[str, ...]:
        return (self.head,)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that the left side binds, in alphabetical order."""
        return tuple(sorted(_variables(self._left)))

    def instance(self, bindings: Mapping[str, Node]) -> Node:
        """The left side with its variables bound: what the generated tests run.

        Raises GraphcError if the nodes do not fit the ops.
        """
        return _build(self._left, bindings, next(iter(bindings.values())).tensor)

    def replacement(self, node: Node) -> Node | None:
        bindings: Bindings = {}
        if not _match(self._left, node, bindings):
            return None
        if any(constant_value(bindings[name]) is None for name in self.constants):
            return None
        if self.guard is not None and not self.guard(bindings):
            return None
        return _build(self._right, bindings, node.tensor)


@dataclass(frozen=True)
class FunctionRule(Rewrite):
    """A step that needs more than algebra: a named function from a node to what replaces it.

    examples: graph texts in which it fires; the generated tests run them before and after.
    ulps: as for `Rule`.
    """

    name: str
    on: tuple[str, ...]
    function: Callable[[Node], Node | None]
    examples: tuple[str, ...]
    ulps: int | None = 0

    @property
    def heads(self) -> tuple[str, ...]:
        return self.on

    def replacement(self, node: Node) -> Node | None:
        return self.function(node)


@dataclass(frozen=True)
class RuleSet:
    """Rules applied until none fires. `fired` counts how often each did.

    allows: asked with a rule's name before it fires; one that may not is as if it did not apply.
    """

    rules: Sequence[Rewrite]
    allows: Callable[[str], bool] = field(default=lambda name: True, compare=False)
    fired: Counter[str] = field(default_factory=Counter, compare=False)

    def normalize(self, node: Node) -> Node:
        """`node` after as many rules as apply at its root; new nodes keep its line and origin.

        Raises InternalError naming the rules that fight if they never end.
        """
        if not self._tried_at(node):
            return node
        recent: list[str] = []
        with written_at(node.location, node.origin):
            while len(recent) <= LIMIT_PER_NODE:
                rewritten = self._step(node, recent)
                if rewritten is None:
                    return node
                node = rewritten
        raise _runaway(recent[-8:])

    def simplified(self, graph: Graph) -> Graph:
        """`graph` with no place left where a rule applies; the same object if there was none.

        Raises InternalError naming the rules that fight if they never end.
        """
        for _ in range(LIMIT_OF_ROUNDS):
            before = self.fired.copy()
            new = rebuild(graph, lambda node, inputs: self.normalize(remake(node, inputs)))
            if new is graph:
                return graph
            graph = new
        raise _runaway(list(self.fired - before))

    def _step(self, node: Node, recent: list[str]) -> Node | None:
        for rule in self._tried_at(node):
            found = rule.apply(node)
            if found is not None and found is not node and self.allows(rule.name):
                self.fired[rule.name] += 1
                recent.append(rule.name)
                return found
        return None

    def _tried_at(self, node: Node) -> list[Rewrite]:
        return self._by_head.get(node.op.name, self._general)

    @cached_property
    def _general(self) -> list[Rewrite]:
        return [rule for rule in self.rules if not rule.heads]

    @cached_property
    def _by_head(self) -> dict[str, list[Rewrite]]:
        heads = {head for rule in self.rules for head in rule.heads}
        return {h: [r for r in self.rules if not r.heads or h in r.heads] for h in heads}


def _runaway(names: Sequence[str]) -> InternalError:
    fighting = ", ".join(sorted(set(names)))
    return InternalError(f"rewriting does not end; the rules that fight: {fighting}")


def constant_value(node: Node) -> float | int | bool | None:
    """The number that every element of `node` has, if it is a constant."""
    if node.op.name != "full":
        return None
    value: float | int | bool = node.attrs["value"]
    return value


def _variables(pattern: ast.expr) -> set[str]:
    if isinstance(pattern, ast.Call):
        return set().union(*map(_variables, pattern.args))
    return {pattern.id} if isinstance(pattern, ast.Name) else set()


def _is_pattern(part: ast.expr) -> bool:
    call = isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and not part.keywords
    return call or isinstance(part, ast.Name) or _number(part) is not None


def _match(pattern: ast.expr, node: Node, bindings: Bindings) -> bool:
    if isinstance(pattern, ast.Name):
        bound = bindings.setdefault(pattern.id, node)
        return bound is node
    if not isinstance(pattern, ast.Call):
        number = _number(pattern)
        return number is not None and _is_number(constant_value(node), number)
    if (
        not isinstance(pattern.func, ast.Name)
        or node.op.name != pattern.func.id
        or len(node.inputs) != len(pattern.args)
        or node.attrs
    ):
        return False
    return all(_match(p, i, bindings) for p, i in zip(pattern.args, node.inputs, strict=True))


def _is_number(value: float | int | bool | None, number: float | int | bool) -> bool:
    """Whether a constant is a pattern's number: -0.0 and 0.0 differ as floats, not as integers."""
    if value is None or isinstance(value, bool) or isinstance(number, bool):
        return value is number
    if isinstance(value, int):
        return value == number
    return value.hex() == float(number).hex()


def _build(pattern: ast.expr, bindings: Mapping[str, Node], like: TensorType) -> Node:
    """The pattern as nodes; a number has the type of an operand beside it, else that of `like`."""
    if isinstance(pattern, ast.Name):
        return bindings[pattern.id]
    number = _number(pattern)
    if number is not None:
        exact = not isinstance(number, bool) and not like.dtype.is_float
        value = int(number) if exact else number if isinstance(number, bool) else float(number)
        return make("full", (), {"value": value, "dtype": like.dtype, "shape": like.shape})
    assert isinstance(pattern, ast.Call) and isinstance(pattern.func, ast.Name)
    built = {
        k: _build(argument, bindings, like)
        for k, argument in enumerate(pattern.args)
        if _number(argument) is None
    }
    beside = next((node.tensor for node in built.values()), like)
    operands = [
        built[k] if k in built else _build(argument, bindings, beside)
        for k, argument in enumerate(pattern.args)
    ]
    return make(pattern.func.id, tuple(operands))


def _number(pattern: ast.expr) -> float | int | bool | None:
    if isinstance(pattern, ast.UnaryOp) and isinstance(pattern.op, ast.USub):
        inner = _number(pattern.operand)
        return None if inner is None else -inner
    if isinstance(pattern, ast.Constant) and isinstance(pattern.value, int | float):
        return pattern.value
    return None
