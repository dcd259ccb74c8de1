import graphc as gc

gc.compile(gc.trace(lambda x: x + 1.0, "f32[N]"), backend="numpy", threads=0)
