"""Runs the benchmarks of speed."""

from benchmarks import logging_rows

if __name__ == "__main__":
    logging_rows.main()
