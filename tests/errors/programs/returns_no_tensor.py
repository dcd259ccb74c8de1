import graphc as gc

gc.trace(lambda x: print(x), "f32[N,3]")
