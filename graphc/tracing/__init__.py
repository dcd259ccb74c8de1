"""Floor 3: plain Python on tensors-to-be becomes a graph."""
