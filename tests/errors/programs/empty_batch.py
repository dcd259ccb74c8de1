import numpy as np

import graphc as gc

run = gc.compile(gc.trace(lambda x: x + 1.0, "f32[N,3]"), backend="numpy")
run(np.ones((0, 3), np.float32))
