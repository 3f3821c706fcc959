"""Training: configuration, optimisers, losses, the step, the driver, its callbacks."""
