import graphc as gc

gc.trace(lambda x: x, "f32[N,N]")
