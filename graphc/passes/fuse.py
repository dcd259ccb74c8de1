"""Fusion: which nodes become one kernel.

A node must have memory of its own if something needs all of it at once: a contraction's operand, a
reshape, an output. Reductions and contractions ("heroes") always start a kernel. Everything else
is computed where it is read, unless it is costly and read from several places, or by a broadcast or
a reduction again and again. Then every kernel grows forwards: elementwise readers of its results
join it while they have the same shape and depend on nothing that depends on the kernel from
outside. Before that, `fuse_rows` finds what goes over short rows several times.

    y = conv2d(x, w); a = tanh(y + b)  ->  one kernel: conv2d, epilogue add and tanh
    d = g * (1 - a * a); s = sum(d)  ->  one kernel: the sum, computing d as it reads
    v = 0.9 * v + g; w = w - lr * v  ->  one kernel with two results, behind g's contraction
    e = exp(x - max(x)); p = e / sum(e)  ->  one kernel, row by row
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.base.errors import InternalError
from graphc.base.source import Source, written_at
from graphc.ir.graph import Graph, make_input
from graphc.ir.layouts import BATCH_LAST, blocked_axes, features
from graphc.ir.node import Node, make, remake
from graphc.ir.rewrite import substitute
from graphc.ir.types import DType, TensorType
from graphc.ops.op import additions_of, extent_product, family_of, op_of
from graphc.ops.structure import get
from graphc.passes.base import Pass
from graphc.passes.fuse_rows import row_groups

LARGEST_GROUP = 64
MOST_RESULTS = 4
MANY_READS = 16
SEVERAL_READS = 4
USUAL_BATCH = 16
COSTLY = 4  # additions an element: as much as a division
HEROES = ("reduction", "contraction", "tile")
PRODUCTS = ("contraction", "tile")  # read every element many times, so that it must be in memory


@dataclass(frozen=True)
class Fuse(Pass):
    """Groups nodes into kernels; each group of more than one node becomes a `fused` node with a
    body.

    Sums along axes and what needs them become one kernel if their rows fit a cache: a softmax, its
    loss and their gradient, say, or normalisation with its gradient.

    y = tanh(conv2d(x, w) + b)  ->  y = fused(x, w, b) {conv2d, broadcast, add, tanh}
    y = softmax(x)  ->  y = fused(x) {max, broadcast, sub, exp, sum, broadcast, div}
    """

    name = "fuse"

    def run(self, graph: Graph) -> Graph:
        return _Fuser(graph).result()


def unfused(graph: Graph) -> Graph:
    """`graph` with every `fused` node replaced by what its body holds."""
    new: dict[Node, Node] = {}
    results: dict[Node, tuple[Node, ...]] = {}
    for node in graph.nodes:
        inputs = tuple(new[i] for i in node.inputs if i not in results)
        if node.op.name == "fused":
            body: Graph = node.attrs["body"]
            inside = substitute(body, dict(zip(body.inputs, inputs, strict=True)))
            results[node] = tuple(inside[o] for o in body.outputs)
            if len(body.outputs) == 1:
                new[node] = results.pop(node)[0]
        elif node.op.name == "get" and node.inputs[0] in results:
            new[node] = results[node.inputs[0]][node.attrs["index"]]
        else:
            new[node] = remake(node, inputs)
    outputs = [new[o] for o in graph.outputs]
    return Graph(graph.name, graph.inputs, outputs, graph.donations)


class _Fuser:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.users = graph.users()
        self.position = {node: k for k, node in enumerate(graph.nodes)}
        self.outputs = set(graph.outputs)
        self.size: dict[Node, int] = {}
        self.stored: set[Node] = set()
        self.epilogue: set[Node] = set()
        self.home: dict[Node, Node] = {}
        self.kernels: dict[Node, set[Node]] = {}
        self.read: set[Node] = set()
        for node in graph.nodes:
            if family_of(node) not in ("input", "structure", "alias") and self._needs_memory(node):
                self.stored.add(node)

    def result(self) -> Graph:
        for group in row_groups(self.graph, self.stored):
            self.home.update(dict.fromkeys(group, group[0]))
            self.kernels[group[0]] = set(group)
        self._grow()
        return self._rebuild()

    # -- what needs memory ---------------------------------------------------------------------

    def _needs_memory(self, node: Node) -> bool:
        self.size[node] = 1 + sum(self.size.get(i, 0) for i in node.inputs if i not in self.stored)
        users = self.users[node]
        if family_of(node) in PRODUCTS:
            self.epilogue.add(node)
        if family_of(node) in HEROES or node in self.outputs or self.size[node] > LARGEST_GROUP:
            self.size[node] = 1
            return True
        if family_of(node) == "create" and not node.inputs:
            return any(family_of(u) in ("alias", "structure") for u in users)
        if len(users) > 1 and any(_is_rounding(u) for u in users):
            return True  # rounded for a product, and read as it is
        if _changes_blocks(node) or any(self._reads_whole(u, node) for u in users):
            return True
        if self._ends_epilogue(node):
            return True
        different = len(set(users)) > 1
        return different and self._is_costly(node)

    def _reads_whole(self, user: Node, node: Node) -> bool:
        family = family_of(user)
        if family in ("alias", "structure"):
            return True
        if family in PRODUCTS:
            return not self._is_plain_view(node)
        if family == "reduction" and (self._overlaps(user) or self._rereads(user, node)):
            return not self._is_plain_view(node)
        if family != "view":
            return False
        if _changes_blocks(user):
            return not self._is_plain_view(node) and not self._is_ring_of_zeros(node)
        if user.op.name != "pad" and self._feeds_contraction(user):
            return not self._is_plain_view(node)
        return self._repeats(user, node) and self._is_costly(node)

    def _ends_epilogue(self, node: Node) -> bool:
        """Whether `node` is the last of an elementwise chain on a contraction: the chain
        becomes its epilogue.
        """
        if family_of(node) != "elementwise":
            return False
        behind = any(
            i in self.epilogue and i.tensor.shape == node.tensor.shape and len(self.users[i]) == 1
            for i in node.inputs
        )
        if not behind:
            return False
        self.epilogue.add(node)
        return any(
            family_of(u) != "elementwise" or u.tensor.shape != node.tensor.shape
            for u in self.users[node]
        )

    def _feeds_contraction(self, view: Node) -> bool:
        """Whether `view` is read in place by a contraction, so that what it views must be in
        memory.
        """
        stack, seen = [view], set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            for user in self.users[node]:
                if family_of(user) in PRODUCTS:
                    return True
                if family_of(user) == "view" and not _is_copied(user):
                    stack.append(user)
        return False

    def _is_plain_view(self, node: Node) -> bool:
        """A view that a contraction can read through: it only moves indices, with steps along
        each axis.
        """
        if family_of(node) != "view" or node.op.name in ("pad", "relayout"):
            return False
        source = node.inputs[0]
        return (
            family_of(source) in ("input", "alias")
            or source in self.stored
            or self._is_plain_view(source)
        )

    def _is_ring_of_zeros(self, node: Node) -> bool:
        """Whether `node` puts zeros around what is in memory: a copy does so on its way."""
        if node.op.name != "pad" or any(node.attrs["interior"]) or node.attrs["value"]:
            return False
        if node.tensor.dtype.itemsize < 4:
            return False
        source = node.inputs[0]
        return family_of(source) in ("input", "alias") or source in self.stored

    def _overlaps(self, reduction: Node) -> bool:
        """Whether a window reduction reads elements more than once."""
        attrs = reduction.attrs
        if "window" not in attrs or "size" in attrs:
            return False
        return any(w > s for w, s in zip(attrs["window"], attrs["stride"], strict=True))

    def _rereads(self, reduction: Node, node: Node) -> bool:
        """Whether a reduction reads each element of `node` many times, or twice one that costs
        arithmetic or reads of its own.
        """
        op = op_of(reduction)
        assert op.domain is not None
        domain = op.domain(tuple(i.tensor for i in reduction.inputs), reduction.attrs)
        steps = reduction.tensor.count(USUAL_BATCH) * extent_product(domain, USUAL_BATCH)
        times = steps / max(node.tensor.count(USUAL_BATCH), 1)
        if times >= MANY_READS:
            return True
        return times > 1 and (self._is_costly(node) or self._reads_for(node) >= SEVERAL_READS)

    def _reads_for(self, node: Node) -> int:
        """How many elements are read for one of `node`, but for those of smaller tensors."""
        size, found, stack = node.tensor.count(USUAL_BATCH), set[Node](), [node]
        while stack:
            current = stack.pop()
            for source in current.inputs:
                if source not in self.stored and family_of(source) not in ("input", "alias"):
                    stack.append(source)
                elif source.tensor.count(USUAL_BATCH) >= size:
                    found.add(current if family_of(current) == "view" else source)
        return len(found)

    def _repeats(self, view: Node, node: Node) -> bool:
        """Whether a view shows each element of `node` many times.

        A single number is computed once, outside of the loops of whatever reads it.
        """
        count = node.tensor.count(USUAL_BATCH)
        return count > 1 and view.tensor.count(USUAL_BATCH) >= MANY_READS * count

    def _is_costly(self, node: Node) -> bool:
        stack = [node]
        while stack:
            current = stack.pop()
            if additions_of(current) >= COSTLY or _moves_batch(current):
                return True
            stack.extend(
                i for i in current.inputs if i not in self.stored and family_of(i) != "input"
            )
        return False

    # -- growing kernels forwards --------------------------------------------------------------

    def _grow(self) -> None:
        """Finds every kernel: a stored node and the elementwise readers that join it."""
        for node in self.graph.nodes:
            if node not in self.stored or node in self.home:
                continue
            group = {node}
            self.home[node], self.kernels[node] = node, group
            changed = not _changes_blocks(node)
            while changed and len(group) < LARGEST_GROUP:
                changed = False
                for member in sorted(group, key=self.position.__getitem__):
                    for user in self.users[member]:
                        if user not in self.home and self._may_join(user, node, group):
                            group.add(user)
                            self.home[user] = node
                            changed = True
            self._trim(node, group)

    def _may_join(self, user: Node, first: Node, group: set[Node]) -> bool:
        if family_of(user) != "elementwise" or user.tensor.shape != first.tensor.shape:
            return False
        outside = [i for i in user.inputs if i not in group]
        if any(self._depends_on(i, group) for i in outside):
            return False
        return self._results_if(group | {user}) <= MOST_RESULTS

    def _results_if(self, group: set[Node]) -> int:
        return sum(
            1
            for m in group
            if m in self.outputs
            or (m in self.stored and any(u not in group for u in self.users[m]))
        )

    def _depends_on(self, node: Node, group: set[Node]) -> bool:
        """Whether `node` needs `group`, kernels taken whole: what one member needs, all of its
        kernel wait for.
        """
        lowest = min(self.position[m] for m in group)
        stack, seen = [node], set()
        while stack:
            current = stack.pop()
            if current in group:
                return True
            if current in seen:
                continue
            stored = current in self.stored and current in self.home
            kernel = self.kernels[self.home[current]] if stored else {current}
            seen |= kernel
            if max(self.position[m] for m in kernel) > lowest:
                stack.extend(i for m in kernel for i in m.inputs)
        return False

    def _trim(self, first: Node, group: set[Node]) -> None:
        """Nodes that joined but whose value is only wanted outside, where it would be computed
        anyway, leave again.
        """
        while True:
            loose = [
                m
                for m in group
                if m is not first
                and m not in self.stored
                and not any(u in group for u in self.users[m])
            ]
            if not loose:
                return
            for member in loose:
                group.discard(member)
                del self.home[member]

    # -- rebuilding ----------------------------------------------------------------------------

    def _rebuild(self) -> Graph:
        order = self._order()
        while order is None:
            order = self._order()
        groups = self._groups()
        for item in order:
            self.read.update(self._sources(groups.get(item, [item])))
        new: dict[Node, Node] = {node: node for node in self.graph.inputs}
        for item in order:
            if item in groups:
                self._emit(groups[item], new)
            else:
                new[item] = remake(item, tuple(new[i] for i in item.inputs))
        outputs = [new[o] for o in self.graph.outputs]
        return Graph(self.graph.name, self.graph.inputs, outputs, self.graph.donations)

    def _groups(self) -> dict[Node, list[Node]]:
        """The members of each kernel, by its first node, in the graph's order."""
        groups: dict[Node, list[Node]] = {}
        for node in self.graph.nodes:
            if node in self.home:
                groups.setdefault(self.home[node], []).append(node)
        return groups

    def _order(self) -> list[Node] | None:
        """Kernels (by their first node) and aliases, each after what it reads. No recursion.

        None if kernels need each other in a circle: the largest of them is then taken apart.
        """
        groups = self._groups()
        done: dict[Node, None] = dict.fromkeys(self.graph.inputs)
        for output in self.graph.outputs:
            stack = [(self.home.get(output, output), False)]
            under_way: dict[Node, None] = {}
            while stack:
                item, ready = stack.pop()
                if item in done:
                    continue
                if ready:
                    done[item] = None
                    del under_way[item]
                    continue
                if item in under_way:
                    path = list(under_way)
                    circle = path[path.index(item) :]
                    self._take_apart(max(circle, key=lambda k: len(groups.get(k, ()))), groups)
                    return None
                under_way[item] = None
                stack.append((item, True))
                for source in self._sources(groups.get(item, [item])):
                    kernel = self.home.get(source, source)
                    if kernel is not item and kernel not in done:
                        stack.append((kernel, False))
        return [d for d in done if d.op.name != "input"]

    def _take_apart(self, first: Node, groups: dict[Node, list[Node]]) -> None:
        """Every stored member of a kernel becomes a kernel of its own."""
        if len(groups[first]) == 1:
            raise InternalError(f"{self.graph.name}: {first.op.name} needs its own result")
        for member in groups[first]:
            if member in self.stored:
                self.home[member] = member
            else:
                del self.home[member]

    def _sources(self, members: list[Node]) -> list[Node]:
        """Stored nodes, inputs and aliases that `members` read from outside, through what is
        computed in place.
        """
        inside = set(members)
        found: dict[Node, None] = {}
        seen: set[Node] = set()
        stack = [i for m in reversed(members) for i in reversed(m.inputs)]
        while stack:
            node = stack.pop()
            if node in inside or node in seen:
                continue
            seen.add(node)
            if node in self.stored or family_of(node) in ("input", "alias", "structure"):
                found[node] = None
            else:
                stack.extend(reversed(node.inputs))
        return list(found)

    def _emit(self, members: list[Node], new: dict[Node, Node]) -> None:
        results = [m for m in members if m in self.outputs or m in self.read]
        sources = self._sources(members)
        stand_ins = {s: make_input(f"in{k}", new[s].tensor) for k, s in enumerate(sources)}
        copies: dict[Node, Node] = dict(stand_ins)
        inside = self._inner_order(members, set(stand_ins))
        for node in inside:
            copies[node] = remake(node, tuple(copies[i] for i in node.inputs))
        needed = [n for n in copies if n not in stand_ins]
        if len(needed) == 1 and len(results) == 1:
            only = results[0]
            new[only] = remake(only, tuple(new[i] for i in only.inputs))
            return
        name = "_".join(dict.fromkeys(_titles(needed)))[:48] or "fused"
        body = Graph(name, list(stand_ins.values()), [copies[r] for r in results])
        first = results[-1]
        node = make(
            "fused",
            tuple(new[s] for s in sources),
            {"body": body},
            location=first.location,
            origin=first.origin,
            sources=_sources(inside),
        )
        for k, result in enumerate(results):
            with written_at(result.location, result.origin):
                new[result] = node if len(results) == 1 else get(node, k)

    def _inner_order(self, members: list[Node], stops: set[Node]) -> list[Node]:
        """The members and what they compute in place, each after its inputs."""
        done: dict[Node, None] = {}
        for member in members:
            stack = [(member, False)]
            while stack:
                node, ready = stack.pop()
                if node in done or node in stops:
                    continue
                if ready:
                    done[node] = None
                    continue
                stack.append((node, True))
                stack.extend((i, False) for i in reversed(node.inputs))
        return list(done)


def _sources(nodes: list[Node]) -> tuple[Source, ...]:
    """Where `nodes` were written: what needs a kernel first, numbers made up only if alone."""
    made = [n for n in nodes if family_of(n) != "create"] or nodes
    by_weight = sorted(made, key=lambda n: family_of(n) not in HEROES)
    return tuple(dict.fromkeys(source for n in by_weight for source in n.sources))


def _is_rounding(node: Node) -> bool:
    return isinstance(node.type, TensorType) and node.type.dtype is DType.bf16


def _moves_batch(node: Node) -> bool:
    """Whether `node` puts samples side by side or apart: lanes read one number at a time."""
    if node.op.name != "relayout" or node.tensor.rank < 2:
        return False
    return (node.tensor.layout == BATCH_LAST) != (node.inputs[0].tensor.layout == BATCH_LAST)


def _changes_blocks(node: Node) -> bool:
    """Whether `node` is a copy to or from a layout in blocks: neighbours in one lie far apart in
    the other, so that whatever else a kernel did would be slow.
    """
    if node.op.name != "relayout":
        return False
    layouts = [n.tensor.layout for n in (node, node.inputs[0])]
    return any(blocked_axes(layout) or features(layout) for layout in layouts)


def _is_copied(view: Node) -> bool:
    """Whether a view that a contraction reads is made in memory, so that what it views need not
    be.
    """
    return view.op.name == "pad" or _changes_blocks(view)


def _titles(nodes: list[Node]) -> list[str]:
    plain = [n.op.name for n in nodes if family_of(n) not in ("create", "view")]
    return plain or [n.op.name for n in nodes]
