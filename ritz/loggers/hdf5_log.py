"""A log in an HDF5 file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ritz.driver.signatures import suggests_names
from ritz.extras import needs
from ritz.loggers.history import Histories, History, HistoryDict
from ritz.loggers.journaled import JournaledLogger
from ritz.loggers.runtime_log import RuntimeLog

_CHUNK_BYTES = 256 * 1024


class HDF5Log(JournaledLogger):
    """Writes `PATH.h5` in NetKet's layout: `data/NAME/iter` and `data/NAME/value`.

    Statistics and named tuples have their fields in place of `value`, nested names are groups,
    and the entries of lists the groups `0`, `1` and so on. Complex numbers, NaN and infinities
    are kept. The file on disk is complete and can be read at every moment, also after the run
    was killed; rows that it lacks are in `PATH.h5.journal`.

    Args:
        path: The file, relative to the run's working folder; `.h5` is added if it is missing.
        mode: "write" (or "w") starts empty; "append" ("a") keeps the rows before the run's first
            step; "fail" ("x") refuses a file that exists. A second run goes on in each mode.
        metadata: Attributes of the group `metadata`.
        write_every: Rows between two rewrites of the file, if that is cheap enough.
        max_cost: The fraction of the time that rewriting the file may take.

    Raises:
        ValueError: For an unknown mode, or an existing file in mode "fail".
    """

    @suggests_names
    def __init__(
        self,
        path: str | Path,
        mode: str = "write",
        metadata: Mapping[str, object] | None = None,
        write_every: int = 50,
        max_cost: float = 0.02,
    ):
        path = Path(path)
        if path.suffix not in (".h5", ".hdf5"):
            path = path.with_name(path.name + ".h5")
        self.metadata = dict(metadata or {})
        super().__init__(path, mode, write_every, max_cost)

    def _write_document(self, path: Path) -> None:
        with needs("HDF5Log", "hdf5"):
            import h5py

        temporary = path.with_name(path.name + ".tmp")
        with h5py.File(temporary, "w") as file:
            _write_tree(file.create_group("data", track_order=True), self._memory.data)
            file.create_group("metadata").attrs.update(
                {
                    k: v if isinstance(v, int | float | bool) else str(v)
                    for k, v in self.metadata.items()
                }
            )
        temporary.replace(path)

    def _read_document(self, path: Path) -> RuntimeLog:
        return RuntimeLog.of(read_hdf5(path))

    def __repr__(self) -> str:
        return f"HDF5Log({str(self.path)!r}, mode={self.mode!r})"


def read_hdf5(path: Path) -> HistoryDict:
    """The histories in a file that `HDF5Log`, or NetKet, wrote.

    Raises:
        ValueError: If the file is not such a log.
    """
    with needs("HDF5Log", "hdf5"):
        import h5py

    try:
        with h5py.File(path, "r") as file:
            return HistoryDict(_read_tree(file["data"]))
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is no HDF5 log: {error}") from error


def _write_tree(group: Any, tree: Histories) -> None:
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in items:
        if value is None:
            continue
        inner = group.create_group(str(key), track_order=True)
        if not isinstance(value, History):
            _write_tree(inner, value)
            if isinstance(value, list):
                inner.attrs["list"] = True
            continue
        for name, column in value.to_dict().items():
            _write_column(inner, "iter" if name == "iters" else name, column)


def _write_column(group: Any, name: str, values: np.ndarray) -> None:
    if values.dtype.kind == "O":
        with needs("HDF5Log", "hdf5"):
            import h5py

        group.create_dataset(
            name, data=["" if v is None else v for v in values], dtype=h5py.string_dtype()
        )
        return
    row_bytes = max(1, values[:1].nbytes)
    rows = max(2, min(1024, _CHUNK_BYTES // row_bytes))
    group.create_dataset(
        name, data=values, chunks=(rows, *values.shape[1:]), maxshape=(None, *values.shape[1:])
    )


def _read_tree(group: Any) -> Histories:
    if "iter" in group:
        fields = {name: _read_column(data) for name, data in group.items() if name != "iter"}
        return History(fields, group["iter"][:])
    inner = {name: _read_tree(value) for name, value in group.items()}
    if group.attrs.get("list"):
        return [inner[str(i)] for i in range(len(inner))]
    return HistoryDict(inner)


def _read_column(data: Any) -> np.ndarray:
    return data.asstr()[:] if data.dtype.kind == "O" else data[:]
