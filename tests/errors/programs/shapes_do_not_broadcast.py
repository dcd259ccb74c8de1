import graphc as gc

gc.trace(lambda x, y: x * y, "f32[N,3]", "f32[N,4]")
