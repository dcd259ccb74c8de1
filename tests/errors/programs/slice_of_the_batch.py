import graphc as gc

gc.trace(lambda x: x[:10], "f32[N,3]")
