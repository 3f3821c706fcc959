"""Measurements, beside the peers in one process. Run them on an idle machine."""
