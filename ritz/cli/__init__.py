"""The command `ritz`."""
