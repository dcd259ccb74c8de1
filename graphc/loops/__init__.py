"""Floor 4: the second and last IR. Kernels as loop nests over buffers; lowering and schedules.
Knows no LLVM, no CUDA.
"""
