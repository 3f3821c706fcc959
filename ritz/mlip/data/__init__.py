"""Labelled structures: readers, labels, data sets, energies of atoms."""
