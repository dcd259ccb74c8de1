import numpy as np

import graphc as gc

loss = gc.trace(lambda x: (x**0.5).sum(), "f32[3]")
slope = gc.compile(gc.grad(loss, wrt=["x"]), backend="numpy", check_nans=True)
slope(np.array([4.0, 1.0, 0.0]))
