import numpy as np

import graphc as gc

run = gc.compile(gc.trace(lambda x: x + 1.0, "f32[N,1,8,8]"), backend="numpy")
run(np.ones((2, 1, 8, 9), np.float32))
