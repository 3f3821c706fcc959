"""Neighbour pairs of structures, and the features computed from them."""
