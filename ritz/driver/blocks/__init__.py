"""Several steps as one compiled program: its plan, its replay hook by hook, single live steps."""
