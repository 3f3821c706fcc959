"""When a structure counts as relaxed."""
