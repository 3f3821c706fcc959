"""`ritz mlip`: interatomic potentials."""
