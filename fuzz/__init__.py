"""Damages run folders, structures, settings and processes at random: nothing may go wrong silently.

`python -m fuzz` or `make fuzz` runs it; see `fuzz/__main__.py`.
"""
