"""Files that are complete at every moment."""

import os
from pathlib import Path


def atomic_write(path: Path, content: bytes) -> None:
    """Replace `path` by a file with `content`; readers see the old or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
