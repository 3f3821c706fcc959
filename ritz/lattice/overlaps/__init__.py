"""Overlaps of a state with others, as parts of the loss."""
