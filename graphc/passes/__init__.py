"""Floor 3: passes, each a pure function from graph to graph, and the pipelines made of them."""

from graphc.passes.base import Pass, Pipeline

__all__ = ["Pass", "Pipeline"]
