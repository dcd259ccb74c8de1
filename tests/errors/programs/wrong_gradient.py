import numpy as np

import graphc as gc
from graphc import nn

gc.testing.check_grads(lambda x: nn.log(x), [np.array([-1.0])])
