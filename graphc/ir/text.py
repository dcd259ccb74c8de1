"""Graphs as text, one node a line with its type, the user's line and, for a gradient, what it is
the gradient of; and the parser of that text.

``parse(str(graph)) is graph``: names and comments are for people, the rest determines the nodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Gradient, Node, attributes_text, make
from graphc.ir.types import DType, N, TensorType, parse_type

_PREFIX = {"data": "", "parameter": "parameter ", "state": "state "}
_PLAIN = re.compile(r"[A-Za-z_][\w.\-]*")


def graph_text(
    graph: Graph, indent: str = "", notes: bool = True, names: Mapping[Node, str] | None = None
) -> str:
    """The text form of `graph`; a fused node's body is printed below it, indented.

    notes: whether a line ends with where its node was written and what for. names: of the nodes,
    instead of ``graph.names``.
    """
    names = graph.names if names is None else names
    heads = [f"%{_shown(names[i])}: {_PREFIX[i.attrs['kind']]}{i.type}" for i in graph.inputs]
    lines = [f"{indent}graph {_shown(graph.name)}({', '.join(heads)}) {{"]
    for node in graph.nodes:
        if node.op.name == "input":
            continue
        lines.append(f"{indent}  {node_text(node, names, indent + '  ', notes)}")
    into = dict(graph.donations)
    results = [
        f"%{_shown(names[o])}"
        + (f" into %{_shown(names[graph.inputs[into[k]]])}" if k in into else "")
        for k, o in enumerate(graph.outputs)
    ]
    lines.append(f"{indent}  return {', '.join(results)}")
    lines.append(f"{indent}}}")
    return "\n".join(lines)


def node_text(node: Node, names: Mapping[Node, str], indent: str = "", notes: bool = True) -> str:
    """``%y = op(%x) {attr=1} : type  # file:line, gradient of %z``."""
    arguments = ", ".join(f"%{_shown(names[i])}" for i in node.inputs)
    attrs = {k: v for k, v in node.attrs.items() if not isinstance(v, Graph)}
    about = ", ".join(filter(None, (str(node.location or ""), origin_text(node, names))))
    call = f"{node.op.name}({arguments}){attributes_text(attrs)}"
    text = f"%{_shown(names[node])} = {call} : {node.type}"
    if notes and about:
        text += f"  # {about}"
    for value in node.attrs.values():
        if isinstance(value, Graph):
            text += "\n" + graph_text(value, indent + "  ", notes)
    return text


def origin_text(node: Node, names: Mapping[Node, str]) -> str:
    """What `node` is for: ``gradient of %conv2d_1``, or of its op if that node has no name here."""
    origin = node.origin
    if isinstance(origin, Gradient) and origin.node in names:
        return origin.text(f"%{_shown(names[origin.node])}")
    return str(origin or "")


def parse(text: str) -> Graph:
    """The graph that `text` describes: the very object it was printed from, if that is still alive.

    Raises GraphcError with the line and column of what cannot be read.
    """
    if not isinstance(text, str):
        raise GraphcError(
            f"a graph is read from text, not from a {type(text).__name__}",
            remedy="give what str(graph) returned",
        )
    parser = _Parser(text)
    graph = parser.graph()
    parser.end()
    return graph


def _shown(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else _quoted(name)


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      |(?P<type>(?:"""
    + "|".join(DType.__members__)
    + r""")\[[^\]]*\](?:\{\w+\})?)
      |(?P<name>%(?:[\w][\w.\-]*|"(?:[^"\\\n]|\\.)*"))
      |(?P<number>-?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|inf|nan)(?![\w.]))
      |(?P<word>[A-Za-z_][\w.\-]*)
      |(?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      |(?P<mark>[(){},:=])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
_DEEPEST = 32
_LONGEST_NUMBER = 64
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "xuU" and len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise self.error(position, f"unexpected {text[position]!r}")
            if match.lastgroup != "space":
                self.tokens.append((str(match.lastgroup), match[0], position))
            position = match.end()
        self.tokens.append(("end", "the end", len(text)))
        self.at = 0
        self.depth = 0

    def error(self, position: int, what: str) -> GraphcError:
        return GraphcError(
            f"cannot read the graph text: {what} at {self.place(position)}",
            node=self.line_at(position),
            remedy="the form of a line is: %name = op(%a, %b) {attr=1} : f32[N,10]",
        )

    def line_at(self, position: int) -> str | None:
        return self.text.split("\n")[self.text.count("\n", 0, position)].strip() or None

    def place(self, position: int) -> str:
        line = self.text.count("\n", 0, position) + 1
        return f"line {line}, column {position - self.text.rfind(chr(10), 0, position)}"

    def next(self, kind: str | None = None, text: str | None = None) -> str:
        found, value, position = self.tokens[self.at]
        if (kind is not None and found != kind) or (text is not None and value != text):
            raise self.error(position, f"expected {text or kind}, found {value!r}")
        if found == "end" and kind != "end":
            raise self.error(position, "the text ends too early")
        self.at += 1
        return value

    def peek(self, text: str) -> bool:
        return self.tokens[self.at][1] == text

    def accept(self, text: str) -> bool:
        if self.peek(text):
            self.at += 1
            return True
        return False

    def end(self) -> None:
        self.next("end")

    def name(self) -> str:
        return self.unquoted(self.next("name")[1:])

    def unquoted(self, text: str) -> str:
        if text[:1] not in ("'", '"'):
            return text
        try:
            return _ESCAPE.sub(_unescape, text[1:-1])
        except (ValueError, OverflowError) as error:
            raise self.error(self.tokens[self.at - 1][2], f"{text} holds no character") from error

    def graph(self) -> Graph:
        self.next("word", "graph")
        self.deeper()
        title = self.unquoted(self.next())
        self.next("mark", "(")
        nodes: dict[str, Node] = {}
        inputs = []
        while not self.peek(")"):
            name = self.name()
            self.next("mark", ":")
            kind = self.next("word") if self.tokens[self.at][0] == "word" else "data"
            node = make_input(name, parse_type(self.next("type")), kind)
            nodes[name] = node
            inputs.append(node)
            if not self.accept(","):
                break
        self.next("mark", ")")
        self.next("mark", "{")
        while not self.peek("return"):
            self.line(nodes)
        self.next("word", "return")
        outputs, donations = [], []
        while True:
            outputs.append(self.lookup(nodes))
            if self.accept("into"):
                _, written, position = self.tokens[self.at]
                target = self.lookup(nodes)
                if target not in inputs:
                    raise self.error(position, f"{written} is not an input")
                donations.append((len(outputs) - 1, inputs.index(target)))
            if not self.accept(","):
                break
        self.next("mark", "}")
        self.depth -= 1
        return Graph(title, inputs, outputs, donations)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.error(self.tokens[self.at - 1][2], f"nested more than {_DEEPEST} deep")

    def lookup(self, nodes: dict[str, Node]) -> Node:
        position = self.tokens[self.at][2]
        name = self.name()
        if name not in nodes:
            raise self.error(position, f"%{name} is not defined above")
        return nodes[name]

    def line(self, nodes: dict[str, Node]) -> None:
        position = self.tokens[self.at][2]
        name = self.name()
        if name in nodes:
            raise self.error(position, f"%{name} is defined twice")
        self.next("mark", "=")
        op = self.next("word")
        self.next("mark", "(")
        inputs = []
        while not self.peek(")"):
            inputs.append(self.lookup(nodes))
            if not self.accept(","):
                break
        self.next("mark", ")")
        attrs: dict[str, Any] = {}
        if self.accept("{"):
            while not self.peek("}"):
                key = self.next("word")
                self.next("mark", "=")
                attrs[key] = self.value()
                if not self.accept(","):
                    break
            self.next("mark", "}")
        self.next("mark", ":")
        declared = self.type()
        if self.peek("graph"):
            attrs["body"] = self.graph()
        try:
            node = make(op, tuple(inputs), attrs)
        except GraphcError as error:
            error.what = f"{error.what} (at {self.place(position)} of the graph text)"
            error.node = error.node or self.line_at(position)
            raise
        if str(node.type) != declared:
            raise self.error(position, f"%{name} is of type {node.type}, not {declared}")
        nodes[name] = node

    def type(self) -> str:
        if not self.accept("("):
            return str(parse_type(self.next("type")))
        parts = []
        while not self.peek(")"):
            parts.append(str(parse_type(self.next("type"))))
            if not self.accept(","):
                break
        self.next("mark", ")")
        return "(" + ", ".join(parts) + ")"

    def value(self) -> Any:
        kind, text, position = self.tokens[self.at]
        self.next()
        if kind == "number":
            plain = text.lstrip("-").isdigit()
            if len(text) > _LONGEST_NUMBER:
                raise self.error(position, f"a number of {len(text)} digits")
            return int(text) if plain else float(text)
        if kind == "string":
            return self.unquoted(text)
        if kind == "type":
            return parse_type(text)
        if kind == "word":
            return self.word(text, position)
        if text == "(":
            self.deeper()
            values = []
            while not self.peek(")"):
                values.append(self.value())
                if not self.accept(","):
                    break
            self.next("mark", ")")
            self.depth -= 1
            return tuple(values)
        raise self.error(position, f"expected a value, found {text!r}")

    def word(self, text: str, position: int) -> Any:
        constants: dict[str, Any] = {
            "True": True, "False": False, "None": None, "N": N, "inf": float("inf"),
            "nan": float("nan"),
        }  # fmt: skip
        if text in constants:
            return constants[text]
        if text in DType.__members__:
            return DType[text]
        raise self.error(position, f"{text!r} is not a value")


def verify(graph: Graph) -> None:
    """Re-runs every shape rule.

    Raises InternalError at the first node whose stored type is not what its rule says.
    """
    from graphc.base.errors import InternalError

    seen: set[Node] = set()
    for node in graph.nodes:
        late = [i for i in node.inputs if i not in seen]
        if late:
            raise InternalError(
                f"{graph.names[node]} comes before its input {graph.names[late[0]]}"
            )
        seen.add(node)
        inferred = node.op.infer(tuple(i.type for i in node.inputs), node.attrs)
        if inferred != node.type:
            raise InternalError(
                f"{graph.names[node]} has the type {node.type} but its rule says {inferred}"
            )
        for value in node.attrs.values():
            if isinstance(value, Graph):
                verify(value)


__all__ = ["TensorType", "graph_text", "node_text", "origin_text", "parse", "verify"]
