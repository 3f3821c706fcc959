"""What a step tells about its structures: quantities, rows, and why one was given up."""
