"""Kernels for graphics processors, in the same loop language: blocks of threads instead of lanes.

`lower` makes the kernel of a node. A definition without a reduction runs by `pointwise`, sums and
extremes by `reduction`, products by `product` (threads), `matrix` (tensor cores) or `hopper` (those
of Hopper processors, with their copy engine). `emulate` turns any of them into loops for one
processor, so that all can be run and checked without the device.
"""
