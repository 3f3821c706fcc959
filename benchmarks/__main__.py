"""Runs the benchmarks of speed, all or those named, and writes docs/performance.md.

Usage: python -m benchmarks [NAME ...]
"""

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
NAMES = ("loop", "lattice", "ablation", "time_to_error", "deep", "logging_rows")

INTRODUCTION = """\
# Performance

Written by `make bench`: each benchmark runs Ritz and its peer in one process, in turns, on the
same machine, and tells the compile time apart. The numbers depend on the machine; the ratios do so
much less.
"""


def main() -> None:
    names = sys.argv[1:] or NAMES
    unknown = set(names) - set(NAMES)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}.")
    for name in names:  # each in a process of its own: thread pools and caches are not shared
        code = (
            "from benchmarks.report import report; "
            f"from benchmarks.{name} import measure; report(measure())"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
    from benchmarks.report import page

    PAGE.write_text(page(INTRODUCTION, NAMES))


if __name__ == "__main__":
    main()
