import graphc as gc

gc.grad(gc.trace(lambda x: (x * 2.0).sum(), "f32[N,3]"), wrt=["weight"])
