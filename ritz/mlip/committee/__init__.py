"""Committees: several potentials that differ in their first parameters."""
