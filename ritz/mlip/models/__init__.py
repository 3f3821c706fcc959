"""Energies of atoms as functions of parameters: networks of features, graph networks."""
