"""Trainable potentials: training, prediction, files, and the calculator of ASE."""
