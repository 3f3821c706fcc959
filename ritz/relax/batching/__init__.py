"""Structures of different sizes as padded arrays, with lists of neighbours that grow."""
