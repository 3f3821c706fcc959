"""Run folders: their owner, checkpoints, logs, configuration and summary.

Nothing here imports JAX, so that commands which only look at runs start at once.
"""

from ritz.folders.lock import FolderInUseError as FolderInUseError
from ritz.folders.lock import FolderLock as FolderLock
