"""Several states in one run: penalties on their overlaps, which keep them apart."""
