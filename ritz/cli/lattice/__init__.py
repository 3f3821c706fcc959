"""`ritz lattice`: wave functions on lattices."""
