"""``graphc.data``: data sets in arrays, readers of data files, and digits that ship with graphc.

The names only; each is explained where it is defined.
"""

from graphc.train.dataset import Dataset, standardise
from graphc.train.digits import digits
from graphc.train.readers import read_cifar10, read_idx

__all__ = ["Dataset", "digits", "read_cifar10", "read_idx", "standardise"]
