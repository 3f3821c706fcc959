"""Positions of nuclei: read from text, and turned or moved as a whole."""
