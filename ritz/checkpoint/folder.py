"""The checkpoints of a run on disk, written by Orbax."""

import contextlib
import logging
import shutil
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ritz.checkpoint.plain import PACKED, Arrays, pack, unpack
from ritz.driver.processes.consensus import agree, told
from ritz.extras import needs
from ritz.folders.saved import MANIFEST, entries, manifest_checksum, verified
from ritz.folders.saved import CheckpointError as CheckpointError
from ritz.folders.saved import Entry as Entry
from ritz.folders.saved import read_manifest as read_manifest
from ritz.types import State
from ritz.wording import counted

_logger = logging.getLogger(__name__)

_ARRAYS, _MANIFEST = "arrays", MANIFEST
_SUMS, _TABLE = "checksums", "table"


class Contents(NamedTuple):
    """Manifest and arrays of a checkpoint."""

    manifest: State
    arrays: Arrays
    """By their names."""


class CheckpointFolder:
    """Writes and reads the checkpoints in one folder.

    Each is a folder of its own, named by its step, and `-end` where a run ended. Orbax writes it
    under a temporary name and renames it when it is complete. A thread of process 0 does all of
    that, waits for the copies of arrays, and deletes old checkpoints. So no process waits for
    others that have failed.

    Args:
        path: The folder; made when something is written.
    """

    def __init__(self, path: Path):
        self.path = path.absolute()
        self._writer: Any = None
        self._pending: Path | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._tasks: list[Future[None]] = []

    def entries(self) -> list[Entry]:
        """The complete checkpoints, the oldest first."""
        return entries(self.path)

    def save(self, step: int, end: bool, contents: Contents) -> Entry:
        """Start to write a checkpoint; the one before must be complete, see `wait`.

        Raises:
            ImportError: If Orbax is missing.
        """
        _orbax()  # here, rather than in the thread
        entry = Entry(step, end, self.path / f"{step:08d}{'-end' * end}")
        if jax.process_index() == 0:
            self._in_background(lambda: self._write(entry, contents))
        self._pending = entry.path
        return entry

    def _in_background(self, action: Callable[[], None]) -> None:
        """Call `action` in the thread, after all that came before."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "ritz checkpoint")
        self._tasks.append(self._thread.submit(action))

    def _write(self, entry: Entry, contents: Contents) -> None:
        orbax = _orbax()
        if self._writer is None:
            self._writer = _checkpointer()
            self._prepare()
        packed, table = pack(contents.arrays)
        manifest = {**contents.manifest, _TABLE: table, _SUMS: {PACKED: _checksum(packed)}}
        signed = {"checksum": manifest_checksum(manifest), "body": manifest}
        items = {
            _ARRAYS: orbax.args.PyTreeSave({PACKED: packed}),
            _MANIFEST: orbax.args.JsonSave(signed),
        }
        self._writer.save(entry.path, orbax.args.Composite(**items))

    def _prepare(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        for inner in self.path.iterdir():  # not complete when an earlier process was killed
            if ".orbax-checkpoint-tmp" in inner.name:
                shutil.rmtree(inner, ignore_errors=True)

    def wait(self) -> None:
        """Wait until the checkpoint that was begun is complete, and others are deleted.

        All processes must wait together.

        Raises:
            CheckpointError: If it could not be written, on all processes; earlier ones are still
                there.
        """
        failed = told(self.wait_here())
        if failed:
            raise CheckpointError(failed)

    def wait_here(self) -> str:
        """The same for this process alone; returns what went wrong."""
        errors = []
        while self._tasks:  # one that is interrupted here is waited for the next time
            errors.append(self._tasks[0].exception())
            del self._tasks[:1]
        pending, self._pending = self._pending, None
        found = [error for error in errors if error is not None]
        return f"{pending} could not be written: {found[0]}" if found else ""

    def remove(self, entry: Entry) -> None:
        """Delete a checkpoint from the disk, in the background; see `wait`."""
        if jax.process_index() == 0:
            self._in_background(lambda: shutil.rmtree(entry.path, ignore_errors=True))

    def set_aside(self, entry: Entry) -> None:
        """Move a checkpoint out of the way of the run, into `set_aside/`."""
        if jax.process_index() == 0:
            target = self.path / "set_aside"
            target.mkdir(exist_ok=True)
            name = entry.path.name
            if (target / name).exists():
                name += time.strftime("_%Y%m%d_%H%M%S")
            with contextlib.suppress(OSError):
                entry.path.rename(target / name)

    def newest(self, prefix: str = "") -> tuple[Entry, Contents] | None:
        """The newest checkpoint that can be read, or None if there is none.

        Args:
            prefix: Required beginning of its name.

        Raises:
            CheckpointError: If there are checkpoints, but none can be read.
        """
        entries = [entry for entry in self.entries() if entry.path.name.startswith(prefix)]
        for entry in reversed(entries):
            try:
                contents = read(entry.path)
                error = None
            except CheckpointError as damage:
                contents, error = None, damage
            if not agree(error) and contents is not None:
                return entry, contents
            _logger.warning(
                "Skipped a damaged checkpoint: %s", error or "another process cannot read it."
            )
        if entries:
            raise CheckpointError(
                f"{self.path} holds {counted(len(entries), 'checkpoint')}, none of which can be "
                "read; move them away to start anew."
            )
        return None


def read(path: Path) -> Contents:
    """Read one checkpoint, and verify its checksums.

    Raises:
        CheckpointError: If it is missing or damaged.
    """
    orbax = _orbax()
    path = path.absolute()
    if not (path / _MANIFEST).is_dir():
        raise CheckpointError(f"{path} is no checkpoint of Ritz.")
    try:
        reader = _checkpointer()
        restored = reader.restore(
            path, orbax.args.Composite(**{_MANIFEST: orbax.args.JsonRestore()})
        )
        manifest = verified(restored[_MANIFEST])
        names = dict.fromkeys(manifest[_SUMS], orbax.RestoreArgs(restore_type=np.ndarray))
        restored = reader.restore(
            path, orbax.args.Composite(**{_ARRAYS: orbax.args.PyTreeRestore(restore_args=names)})
        )
        arrays = restored[_ARRAYS]
    except Exception as error:  # damaged files can raise anything in Orbax and TensorStore
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path} cannot be read: {reason[:300]}") from error
    for name, checksum in manifest[_SUMS].items():
        if checksum is not None and checksum != _checksum(arrays[name]):
            raise CheckpointError(f"{path} is damaged: the checksum of {name} is wrong.")
    divided = {name: array for name, array in arrays.items() if name != PACKED}  # until 0.1
    return Contents(manifest, divided | unpack(arrays[PACKED], manifest[_TABLE]))


def _orbax() -> Any:
    """Orbax, which takes a while to import."""
    with needs("Checkpoint", "checkpoint"):
        from orbax import checkpoint
    return checkpoint


def _checkpointer() -> Any:
    """A checkpointer of Orbax that waits for no other process.

    Folders that Orbax makes in the background are waited for by the number of the operation, of
    which the process has one for all threads; so they are made at once.
    """
    orbax, own = _orbax(), jax.process_index()
    alone = orbax.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process {own}"
    )
    at_once = orbax.options.AsyncOptions(create_directories_asynchronously=False)
    options = orbax.CompositeOptions(multiprocessing_options=alone, async_options=at_once)
    handler = orbax.CompositeCheckpointHandler(composite_options=options)
    return orbax.Checkpointer(handler, multiprocessing_options=alone)


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())
