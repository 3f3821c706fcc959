"""Tools for those who work on Ritz."""
