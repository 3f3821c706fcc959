"""What is estimated on samples of a lattice."""
