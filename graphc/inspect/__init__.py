"""Floor 6: looking at graphs: per-layer summaries, FLOPs and bytes, and tables for people."""

from graphc.inspect.cost import bytes_moved, flops, graph_flops, type_bytes
from graphc.inspect.render import as_text, counted, scaled, table
from graphc.inspect.summary import Summary, SummaryRow, summary

__all__ = [
    "Summary",
    "SummaryRow",
    "as_text",
    "bytes_moved",
    "counted",
    "flops",
    "graph_flops",
    "scaled",
    "summary",
    "table",
    "type_bytes",
]
