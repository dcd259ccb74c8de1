"""Floor 0: settings, errors and source locations. Knows nothing else of graphc."""
