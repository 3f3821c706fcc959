"""Structures as padded batches: capacity, plan, packing, streaming."""
