"""How many bytes a step takes, and each layer's values of it, from the plan that the step runs by.

The graph is taken through the passes of generated code and scheduled as a backend does it, so what
fusion has left without memory counts nothing here. A value belongs to the layer that it was made
for, and is an activation, or a gradient if it was made for one. It knows no shapes of layers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from graphc.base.arguments import check_whole
from graphc.ir.graph import Graph
from graphc.ir.node import Gradient, Node
from graphc.loops.memory import buffer_bytes
from graphc.passes.pipelines import LARGE_BATCH, backend_pipelines, with_packed_parameters
from graphc.passes.plan_memory import plan, schedule


@dataclass(frozen=True)
class StepMemory:
    """Bytes that one step takes with a batch of `batch` samples.

    activations, gradients: of what is computed on the way, by the path of the layer; what belongs
    to none, such as the loss and the update, is under "". planned: of the one arena that all of it
    shares, less than the sum, because values that are done with make room. parameters, states: of
    what stays between steps; states are the optimiser's and those of layers. data: of the arrays
    that are fed, targets included. results: of those that come back, such as the scores.
    """

    batch: int
    activations: dict[str, int]
    gradients: dict[str, int]
    planned: int
    parameters: int
    states: int
    data: int
    results: int

    @property
    def peak(self) -> int:
        """All that the step needs at the moment when it needs most. What is kept is overwritten in
        place, so nothing is there twice.
        """
        return self.planned + self.parameters + self.states + self.data + self.results

    @property
    def layered(self) -> bool:
        """Whether the graph knows layers; one that was read from text does not."""
        return any(self.activations | self.gradients)


def step_memory(
    step: Graph, batch: int = 1, *, precision: str = "f32", packed: bool = True
) -> StepMemory:
    """The memory of a training step, or of any graph, for a batch of that size.

    precision: of products. packed: whether parameters stay between steps in the layouts that steps
    want, as those of a model do until somebody asks for them.
    """
    check_whole("batch", batch)
    pipelines = backend_pipelines(precision)
    if packed:
        pipelines = with_packed_parameters(pipelines)
    batched = any(i.tensor.batch_axis is not None for i in step.inputs)
    name = "large" if batched and batch >= LARGE_BATCH else "small"
    scheduled = schedule(pipelines[name](step))
    sizes = {s: buffer_bytes(s.type, batch) for s in scheduled.temporaries}
    made = _made(scheduled.graph)
    activations, gradients = Counter[str](), Counter[str]()
    for run in scheduled.steps:
        for number, storage in enumerate(run.writes):
            if storage in sizes:
                value = made.get((run.node, number), run.node)
                found = gradients if isinstance(value.origin, Gradient) else activations
                found[_layer(value)] += sizes[storage]
    given = Counter[str]()
    for node in step.inputs:
        given[node.attrs["kind"]] += node.tensor.bytes(batch)
    written = {output for output, _ in step.donations}
    return StepMemory(
        batch,
        dict(activations),
        dict(gradients),
        planned=plan(scheduled, list(sizes.values())).bytes,
        parameters=given["parameter"],
        states=given["state"],
        data=given["data"],
        results=sum(o.tensor.bytes(batch) for k, o in enumerate(step.outputs) if k not in written),
    )


def _made(graph: Graph) -> dict[tuple[Node, int], Node]:
    """The node that stands for each result of the kernels that have several."""
    return {(n.inputs[0], n.attrs["index"]): n for n in graph.nodes if n.op.name == "get"}


def _layer(value: Node) -> str:
    return value.location.layer if value.location is not None else ""
