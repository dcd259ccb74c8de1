import graphc as gc

gc.trace(lambda x: x.sum(axes=2), "f32[N,4]")
