import graphc as gc

gc.trace(lambda x: x, "float32[N,3]")
