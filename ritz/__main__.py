"""`python -m ritz`: the command `ritz`."""

import sys

from ritz.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
