"""Criteria of convergence, and the callbacks that end a relaxation."""
