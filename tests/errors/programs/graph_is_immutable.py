import graphc as gc

graph = gc.trace(lambda x: x + 1.0, "f32[N]")
graph.name = "other"
