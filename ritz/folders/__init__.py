"""Run folders as files: who owns one, what was saved in it, how its logs end.

Nothing here imports JAX, so that commands which only look at runs start at once.
"""

from ritz.folders.lock import FolderInUseError as FolderInUseError
from ritz.folders.lock import FolderLock as FolderLock
