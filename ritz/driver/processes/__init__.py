"""What the processes of a run agree on: stops, failures, signals, and which of them is stuck."""
