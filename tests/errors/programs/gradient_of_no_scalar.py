import graphc as gc

gc.grad(gc.trace(lambda x: x * 7.5, "f32[N,3]"))
