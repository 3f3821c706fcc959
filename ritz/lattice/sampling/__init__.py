"""Samplers, their moves, and the weights of samples."""
