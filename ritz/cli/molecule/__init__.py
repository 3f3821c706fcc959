"""The command `ritz molecule`."""
