"""Floor 5: buffers, executables, the abstract backend, threads. Knows no particular backend."""
