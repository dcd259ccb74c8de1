"""Floor 6: looking at graphs: per-layer summaries, FLOPs and bytes, tables, colours, pictures."""

from graphc.inspect.cost import bytes_moved, flops, graph_flops, type_bytes
from graphc.inspect.drawing import draw
from graphc.inspect.memory import StepMemory, step_memory
from graphc.inspect.render import as_text, counted, scaled, show, table
from graphc.inspect.report import Report, report
from graphc.inspect.summary import Summary, SummaryRow, summary

__all__ = [
    "Report",
    "StepMemory",
    "Summary",
    "SummaryRow",
    "as_text",
    "bytes_moved",
    "counted",
    "draw",
    "flops",
    "graph_flops",
    "report",
    "scaled",
    "show",
    "step_memory",
    "summary",
    "table",
    "type_bytes",
]
