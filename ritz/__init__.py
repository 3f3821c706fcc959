"""Variational optimisations in physics and chemistry through one run loop with callback hooks."""

__version__ = "0.1.0"
