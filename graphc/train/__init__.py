"""Floor 6: training: optimisers, data, metrics, `Model`, the fit loop. Knows no layers."""
