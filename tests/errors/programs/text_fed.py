import graphc as gc

run = gc.compile(gc.trace(lambda x: x + 1.0, "f32[N]"), backend="numpy")
run(["a", "b"])
