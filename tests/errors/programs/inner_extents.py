import graphc as gc

gc.trace(lambda x, w: x @ w, "f32[N,400]", "f32[120,84]")
