"""A text that is shown again whenever it may have changed."""

import shutil
import sys
import time
from collections.abc import Callable

from ritz.wording import counted


def watch(look: Callable[[], tuple[str, bool]], seconds: float) -> None:
    """Show a text until nothing changes any more: in a terminal in its place, elsewhere below.

    Args:
        look: Returns the text, and whether it may still change.
        seconds: Time between two looks.
    """
    shown, height = "", 0
    while True:
        text, changes = look()
        if sys.stdout.isatty():
            text = _cut(text)
            up = f"\x1b[{height}F\x1b[J" if height else ""
            sys.stdout.write(up + text)
            height = text.count("\n")
        elif text != shown:
            sys.stdout.write("\n" * bool(shown) + text)
        sys.stdout.flush()
        shown = text
        if not changes:
            return
        time.sleep(seconds)


def _cut(text: str) -> str:
    """The text without what the terminal has no place for, since its lines are counted."""
    columns, rows = shutil.get_terminal_size()
    lines = text.splitlines()
    kept = lines[: max(rows - 1, 1)]
    if len(kept) < len(lines):
        kept[-1] = f"... and {counted(len(lines) - len(kept) + 1, 'more line')}"
    return "".join(f"{line[: columns - 1]}\n" for line in kept)
