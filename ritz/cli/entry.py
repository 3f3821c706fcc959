"""Where the command `ritz` begins."""

import sys


def main() -> int:
    """Run the command, or say what must be installed for it."""
    try:
        from ritz.cli.main import main as run
    except ModuleNotFoundError as error:
        sys.stderr.write(f"ritz: the command needs more: pip install 'ritz[cli]' ({error})\n")
        return 2
    return run()
