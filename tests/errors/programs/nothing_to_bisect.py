import graphc as gc

graph = gc.trace(lambda x: x * 1.0, "f32[N,3]")
gc.testing.bisect(graph, gc.passes.Pipeline.parse("simplify"))
