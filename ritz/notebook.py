"""Whether Python runs behind a notebook, and a display there that is updated in place."""

import sys
from typing import Any


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which shows HTML and pictures."""
    ipython = sys.modules.get("IPython")  # imported already wherever there is a kernel
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Display:
    """One output of a cell, whose content is replaced by every `show`."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, content: dict[str, Any]) -> None:
        """Show `content`, texts by their MIME types such as "text/html", in place of the last."""
        from IPython.display import DisplayHandle  # type: ignore[import-not-found]

        if self._handle is None:
            self._handle = DisplayHandle()
            self._handle.display(content, raw=True)
        else:
            self._handle.update(content, raw=True)
