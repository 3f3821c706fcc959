"""Steps of lattice VMC as pure functions."""
