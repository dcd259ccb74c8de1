import numpy as np

import graphc as gc

run = gc.compile(gc.trace(lambda x, y: x + y, "f32[N,3]", "f32[N,3]"), backend="numpy")
run(np.ones((2, 3), np.float32))
