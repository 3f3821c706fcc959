"""Rules that move atoms: optimisers, integrators, cells that relax, and stages of a run."""
