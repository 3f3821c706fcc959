"""`ritz relax`: relaxation of structures from files."""
