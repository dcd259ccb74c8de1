import graphc as gc

gc.trace(lambda x: x.transpose().reshape(-1, 3), "f32[N,3]")
