"""A data set in one HDF5 file, read structure by structure."""

import contextlib
import functools
import itertools
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from ritz.checks import check_count
from ritz.driver.signatures import suggests_names
from ritz.extras import needs
from ritz.mlip.arrays import LRUCache
from ritz.mlip.data.datasets import AbstractDataset, Featurizer, within_limits
from ritz.mlip.data.hdf5_columns import (
    FEATURES,
    STRUCTURES,
    VALUES,
    Ends,
    append,
    read_derivatives,
    read_ends,
    read_structure,
)
from ritz.mlip.data.labelling import Labelling
from ritz.mlip.data.reading import Sources, read_sources
from ritz.mlip.data.reference_energies import (
    check_species,
    is_isolated,
    isolated_atom_energies,
    without_isolated,
)
from ritz.mlip.data.structure import Structure
from ritz.types import State

FORMAT = "ritz.mlip structures 1"
"""Format tag of a file."""

CHUNK = 256
"""Number of structures that are featurised and written at once."""


class HDF5StructureDataset(AbstractDataset):
    """Structures in an HDF5 file, with their features if they were kept.

    `build_database` makes the file; afterwards, structures are read when they are asked for, and
    the last ones that were read are kept in memory. Several processes may read at once: each opens
    the file by itself, when it first reads.

    Args:
        path: The file.
        descriptor: What features are computed with.
        atomic_energies: By species, in eV; what is taken off total energies. Others have 0. None
            takes those that the file was built with, and to build it those of isolated atoms among
            the structures (`config_type="IsolatedAtom"`).
        max_energy: When the file is built, structures with more energy per atom, in eV and less
            that of the atoms, are left out.
        max_forces: The same for structures with a larger force on an atom, in eV/Angstrom.
        in_memory_cache_size: How many structures are kept in memory.

    Raises:
        ValueError: If a value is not allowed.
    """

    descriptor: Featurizer

    @suggests_names
    def __init__(
        self,
        path: str | PathLike[str],
        descriptor: Featurizer,
        atomic_energies: Mapping[str, float] | None = None,
        max_energy: float | None = None,
        max_forces: float | None = None,
        in_memory_cache_size: int = 1024,
    ):
        self.path = Path(path)
        self.descriptor = descriptor
        self.max_energy = max_energy
        self.max_forces = max_forces
        self._given_energies = None if atomic_energies is None else dict(atomic_energies)
        size = check_count("in_memory_cache_size", in_memory_cache_size, 0)
        self._cache = LRUCache(size)
        self._lock = threading.RLock()
        self._file: Any = None
        self._ends: Ends | None = None
        self._columns: dict[str, Any] = {}
        self._process = 0

    # Building.

    @functools.partial(suggests_names, more=(Labelling,))
    def build_database(
        self,
        sources: Sources,
        energy_key: str | None = None,
        forces_key: str | None = None,
        stress_key: str | None = None,
        build_workers: int = 0,
        persist_features: bool = False,
        persist_force_derivatives: bool = False,
        **more: Any,
    ) -> "HDF5StructureDataset":
        """Write the file, at once: it is there when it is complete.

        Args:
            sources: Files, patterns, folders or archives as `read_structures` takes them; or
                structures or records, one after another.
            energy_key: See `read_structures`.
            forces_key: See `read_structures`.
            stress_key: See `read_structures`.
            build_workers: How many processes read files; 0 for this one. A script that asks for
                some does so below `if __name__ == "__main__":`, since each of them imports it.
            persist_features: Whether features are computed and kept in the file.
            persist_force_derivatives: Whether the derivatives of the features by the positions of
                neighbours are, from which forces follow.
            more: `virial_key`, `energy_unit`, `length_unit`, `forces_unit` and `stress_unit`, see
                `from_ase`.

        Returns:
            The data set itself.

        Raises:
            FileExistsError: If the file is there already.
            ValueError: If a source cannot be read, or no structure is left.
        """
        with needs("HDF5StructureDataset", "mlip"):
            import h5py

        if self.path.exists():
            raise FileExistsError(f"{self.path} is there already; remove it, or choose another.")
        check_count("build_workers", build_workers, 0)
        labelling = Labelling(energy_key, forces_key, stress_key, **more)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        isolated: list[Structure] = []
        to_write = self._structures_to_write(
            read_sources(sources, labelling, build_workers), isolated
        )
        try:
            with h5py.File(partial, "w") as file:
                widths = (0, 0)
                while structures := list(itertools.islice(to_write, CHUNK)):
                    widths = self._append(
                        file, structures, persist_features, persist_force_derivatives, widths
                    )
                if STRUCTURES not in file:
                    raise ValueError(
                        "there is no structure to write: none was found, or all are above "
                        f"max_energy={self.max_energy!r} or max_forces={self.max_forces!r}."
                    )
                file.attrs["format"] = FORMAT
                file.attrs["widths"] = widths
                _, energies = without_isolated(isolated, self._given_energies)
                file.attrs["atomic_energies"] = json.dumps(energies)
                file.attrs["descriptor"] = json.dumps(self.descriptor.header())
            partial.rename(self.path)
        finally:
            partial.unlink(missing_ok=True)
        return self

    def _structures_to_write(
        self, structures: Iterable[Structure], isolated: list[Structure]
    ) -> Iterator[Structure]:
        """The structures that are written; isolated atoms are put aside."""
        energies = self._given_energies or {}
        if self.max_energy is not None and self._given_energies is None:
            structures = list(structures)  # the limit goes by energies that may be among them
            energies = isolated_atom_energies([s for s in structures if is_isolated(s)])
        for structure in structures:
            if is_isolated(structure):
                isolated.append(structure)
                continue
            self._check_energies(structure)
            if within_limits(structure, energies, self.max_energy, self.max_forces):
                yield structure

    def _check_energies(self, structure: Structure) -> None:
        check_species(self._given_energies or {}, structure.species, self.descriptor.species)

    def _append(
        self,
        file: Any,
        structures: list[Structure],
        with_features: bool,
        with_derivatives: bool,
        widths: tuple[int, int],
    ) -> tuple[int, int]:
        """Write structures; returns how long rows of neighbours must be by now."""
        rows = self.descriptor.file_rows(
            structures, widths, with_features=with_features, with_derivatives=with_derivatives
        )
        append(file, structures, rows.features, rows.derivatives)
        return rows.widths

    # Reading.

    def _open(self) -> Any:  # h5py is imported where it is used
        """The file, opened by this process."""
        with self._lock:
            return self._opened()

    def _opened(self) -> Any:
        if self._file is None or self._process != os.getpid():
            with needs("HDF5StructureDataset", "mlip"):
                import h5py

            if not self.path.is_file():
                raise ValueError(f"there is no file {self.path}; make it with build_database(...).")
            with self._reading():
                file = h5py.File(self.path, "r", locking=False)
            with self._reading():
                known = file.attrs.get("format") == FORMAT
            if not known:
                told = "is no data set that this version of Ritz has written."
                raise ValueError(f"{self.path} {told}")
            with self._reading():
                self._file, self._process, self._ends = file, os.getpid(), read_ends(file)
                self._columns = dict(file)
                self._features, self._derivatives = self._has(FEATURES), self._has(VALUES)
        return self._file

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Within it, what h5py says of damaged bytes becomes an error that names the file."""
        try:
            yield
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, IndexError) as error:
            told = " ".join(str(error).split())
            raise ValueError(
                f"{self.path} cannot be read; it is damaged, or no HDF5 file: {told}"
            ) from error

    def close(self) -> None:
        """Close the file; it is opened again when it is read."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file, self._columns = None, {}

    def __getstate__(self) -> State:
        """Files are not sent to other processes."""
        fields = {name: value for name, value in vars(self).items() if name != "_lock"}
        return {**fields, "_file": None, "_ends": None, "_columns": {}}

    def __setstate__(self, state: State) -> None:
        """The data set without an open file: each process opens it when it reads."""
        vars(self).update(state, _lock=threading.RLock())

    @property
    def atomic_energies(self) -> dict[str, float]:  # type: ignore[override]
        """By species, in eV; what is taken off total energies."""
        if self._given_energies is not None:
            return self._given_energies
        file = self._open()
        with self._reading():
            return json.loads(file.attrs["atomic_energies"])

    def _has(self, what: str) -> bool:
        """Whether the file has it, and for this descriptor."""
        kept = json.loads(self._file.attrs["descriptor"])
        known = json.loads(json.dumps(self.descriptor.header()))
        return what in self._file and kept == known

    @property
    def has_features(self) -> bool:
        """Whether the file has features of this descriptor."""
        self._open()
        return self._features

    @property
    def has_force_derivatives(self) -> bool:
        """Whether the file has derivatives of the features of this descriptor."""
        self._open()
        return self._derivatives

    @property
    def local_widths(self) -> tuple[int, int] | None:
        """Largest numbers of neighbours of an atom; None if no derivatives are kept."""
        if not self.has_force_derivatives:
            return None
        width, near = map(int, self._open().attrs["widths"])
        return width, near

    def get_local_derivatives(self, index: int) -> Mapping[str, np.ndarray]:
        """The derivatives of the features of one of the structures.

        Raises:
            LookupError: If the file has none.
        """
        if not self.has_force_derivatives:
            raise LookupError(
                f"{self.path} has no derivatives; build it with persist_force_derivatives=True."
            )
        index = self._checked(index)
        with self._lock:
            self._opened()
            with self._reading():
                rows = read_derivatives(self._columns, self._known_ends(), index)
                return self.descriptor.unpack_derivatives(*rows)

    def __len__(self) -> int:
        self._open()
        return len(self._known_ends().atoms)

    def _known_ends(self) -> Ends:
        assert self._ends is not None
        return self._ends

    def get_structure(self, index: int) -> Structure:
        """One of the structures; its name is that of its source."""
        index = self._checked(index)
        with self._lock:
            structure = self._cache.get(index)
            if structure is None:
                structure = self._read_structure(index)
                self._cache.put(index, structure)
        return structure

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no structure {index}; there are {len(self)}.")
        return int(index)

    def _read_structure(self, index: int) -> Structure:
        self._opened()
        with self._reading():
            fields = read_structure(self._columns, self._known_ends(), index)
            species = [chemical_symbols[number] for number in fields.pop("numbers")]
            structure = Structure(species=species, **fields)
        self._check_energies(structure)
        return structure

    def get_features(self, index: int) -> Float[np.ndarray, "n_atoms n_features"] | None:
        """The features of one of the structures, if the file has them."""
        if not self.has_features:
            return None
        index = self._checked(index)
        with self._lock:
            self._opened()
            with self._reading():
                return self._columns[FEATURES][self._known_ends().of("atoms", index)]
