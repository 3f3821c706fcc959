"""Quantities of structures at a step, the rows of logs, and reasons why structures have failed."""
