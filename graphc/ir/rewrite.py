"""Rewriting: rebuild a graph bottom-up, and rules written as rows of algebra.

A `Rule` is ``Rule("mul-one", "mul(x, 1)", "x")``: a name, a left side, a right side, and perhaps a guard on what the
variables matched. A number matches a constant of that value in any shape. Nothing here recurses over a graph; only
over a rule's own few symbols.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from graphc.base.errors import InternalError
from graphc.ir.graph import Graph
from graphc.ir.node import Node, make, remake
from graphc.ir.types import TensorType

Bindings = dict[str, Node]
LIMIT_PER_NODE = 64


def rebuild(graph: Graph, transform: Callable[[Node, tuple[Node, ...]], Node]) -> Graph:
    """`graph` with every node replaced by ``transform(node, new inputs)``; the same object if nothing changed.

    Input nodes pass through unchanged.
    """
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        new[node] = (
            node if node.op.name == "input" else transform(node, tuple(new[i] for i in node.inputs))
        )
    outputs = [new[o] for o in graph.outputs]
    return Graph(graph.name, graph.inputs, outputs, graph.donations)


def substitute(graph: Graph, replacements: Mapping[Node, Node]) -> dict[Node, Node]:
    """For every node of `graph` its copy in which `replacements` stand for their keys."""
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        found = replacements.get(node)
        new[node] = found if found is not None else remake(node, tuple(new[i] for i in node.inputs))
    return new


@dataclass(frozen=True)
class Rule:
    """One row of algebra: `left` becomes `right` where `guard` holds.

    Sides are calls of ops on variables and numbers; a variable on the right must occur on the left.
    """

    name: str
    left: str
    right: str
    guard: Callable[[Mapping[str, Node]], bool] | None = None
    _left: ast.expr = field(init=False, repr=False, compare=False)
    _right: ast.expr = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for side in ("left", "right"):
            tree = ast.parse(getattr(self, side), mode="eval").body
            object.__setattr__(self, f"_{side}", tree)

    @property
    def head(self) -> str:
        """The op at the root of the left side."""
        assert isinstance(self._left, ast.Call) and isinstance(self._left.func, ast.Name)
        return self._left.func.id

    def apply(self, node: Node) -> Node | None:
        """The node that replaces `node`, or None if the rule does not apply."""
        bindings: Bindings = {}
        if not _match(self._left, node, bindings):
            return None
        if self.guard is not None and not self.guard(bindings):
            return None
        result = _build(self._right, bindings, node.tensor)
        same_type = (
            result.tensor.shape == node.tensor.shape and result.tensor.dtype == node.tensor.dtype
        )
        return result if same_type else None


@dataclass(frozen=True)
class RuleSet:
    """Rules applied to a node until none fires."""

    rules: tuple[Rule, ...]
    fired: Counter[str] = field(default_factory=Counter, compare=False)

    def normalize(self, node: Node) -> Node:
        """`node` after as many rules as apply at its root.

        Raises InternalError naming the rules that fight if they never end.
        """
        recent: list[str] = []
        while True:
            for rule in self._by_head.get(node.op.name, ()):
                found = rule.apply(node)
                if found is not None and found is not node:
                    self.fired[rule.name] += 1
                    recent.append(rule.name)
                    node = found
                    break
            else:
                return node
            if len(recent) > LIMIT_PER_NODE:
                fighting = ", ".join(sorted(set(recent[-8:])))
                raise InternalError(f"rewriting does not end; the rules that fight: {fighting}")

    @property
    def _by_head(self) -> dict[str, list[Rule]]:
        cached: dict[str, list[Rule]] | None = self.__dict__.get("_heads")
        if cached is None:
            cached = {}
            for rule in self.rules:
                cached.setdefault(rule.head, []).append(rule)
            self.__dict__["_heads"] = cached
        return cached


def constant_value(node: Node) -> float | int | bool | None:
    """The number that every element of `node` has, if it is a constant."""
    if node.op.name != "full":
        return None
    value: float | int | bool = node.attrs["value"]
    return value


def _match(pattern: ast.expr, node: Node, bindings: Bindings) -> bool:
    if isinstance(pattern, ast.Name):
        bound = bindings.setdefault(pattern.id, node)
        return bound is node
    number = _number(pattern)
    if number is not None:
        value = constant_value(node)
        return (
            value is not None
            and not isinstance(value, bool)
            and float(value).hex() == float(number).hex()
        )
    if not isinstance(pattern, ast.Call) or not isinstance(pattern.func, ast.Name):
        raise InternalError(
            f"a rule's pattern is made of calls, names and numbers, not {ast.unparse(pattern)}"
        )
    if node.op.name != pattern.func.id or len(node.inputs) != len(pattern.args):
        return False
    return all(_match(p, i, bindings) for p, i in zip(pattern.args, node.inputs, strict=True))


def _build(pattern: ast.expr, bindings: Mapping[str, Node], like: TensorType) -> Node:
    if isinstance(pattern, ast.Name):
        return bindings[pattern.id]
    number = _number(pattern)
    if number is not None:
        value = float(number) if like.dtype.is_float else int(number)
        return make("full", (), {"value": value, "dtype": like.dtype, "shape": like.shape})
    assert isinstance(pattern, ast.Call) and isinstance(pattern.func, ast.Name)
    return make(pattern.func.id, tuple(_build(a, bindings, like) for a in pattern.args))


def _number(pattern: ast.expr) -> float | int | None:
    if isinstance(pattern, ast.UnaryOp) and isinstance(pattern.op, ast.USub):
        inner = _number(pattern.operand)
        return None if inner is None else -inner
    if isinstance(pattern, ast.Constant) and isinstance(pattern.value, int | float):
        return pattern.value
    return None
