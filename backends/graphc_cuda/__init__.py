"""The CUDA backend: the same graphs on an NVIDIA graphics processor, as generated CUDA C++."""
