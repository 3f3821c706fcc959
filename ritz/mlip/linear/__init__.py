"""Potentials that are linear in their features, fitted in closed form."""
