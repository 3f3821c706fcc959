"""A potential whose energies of atoms are any function of their neighbours."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from numpy.typing import DTypeLike
from typing_extensions import override

from ritz.checks import check_positive
from ritz.driver.signatures import suggests_names
from ritz.mlip.arrays import check_dtype
from ritz.mlip.data.structure import checked_species
from ritz.mlip.models.graph import EnergyModule, GraphModel
from ritz.mlip.models.mace import MACE
from ritz.mlip.models.painn import PaiNN
from ritz.mlip.potentials.base import AbstractMLIP
from ritz.mlip.training.config import TrainingConfig
from ritz.types import Settings

_MODULES: dict[str, type[Any]] = {"PaiNN": PaiNN, "MACE": MACE}
"""The modules of Ritz by name, which files of potentials have with all of their fields."""


class GraphPotential(AbstractMLIP):
    """A potential of a module of flax, or of anything else that gives energies of atoms.

    The energy is the sum of what the module gives for each atom; forces and stress are its
    derivatives. The module is called with a `ritz.potentials.AtomicGraph`, see `EnergyModule`.

    Args:
        module: The module, such as `PaiNN()`, the default, or `MACE("small")`.
        species: Chemical symbols.
        cutoff: How far neighbours reach, in Angstrom; by default `module.cutoff`.
        dtype: "float32" or "float64", the precision in which it is trained by default.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    model: GraphModel

    @suggests_names
    def __init__(
        self,
        module: EnergyModule | None = None,
        species: Sequence[str] = (),
        cutoff: float | None = None,
        dtype: DTypeLike = "float32",
    ):
        module = PaiNN() if module is None else module
        for name in ("init", "apply"):
            if not callable(getattr(module, name, None)):
                raise TypeError(
                    f"module must have the methods init(key, structure) and apply(params, "
                    f"structure), as modules of flax do, but {module!r} was given."
                )
        cutoff = getattr(module, "cutoff", None) if cutoff is None else cutoff
        if cutoff is None:
            raise ValueError("the module has no cutoff; give cutoff=... in Angstrom.")
        reach = check_positive("cutoff", cutoff)
        symbols = checked_species(species)
        with_species = getattr(module, "of_species", None)
        for_symbols = module if with_species is None else with_species(symbols)
        super().__init__(GraphModel(for_symbols, symbols, reach), check_dtype("dtype", dtype))

    @property
    def module(self) -> EnergyModule:
        """The module that gives the energies of atoms."""
        return self.model.module

    @property
    @override
    def descriptor(self) -> None:
        return None

    def __repr__(self) -> str:
        state = "trained" if self.is_trained else "not trained"
        return f"GraphPotential({self.module!r}, {list(self.species)}; {state})"

    def untrained(self) -> "GraphPotential":
        """Another one with the same module, without parameters."""
        return GraphPotential(self.module, self.species, self.model.cutoff, self.dtype)

    @override
    def precision(self, config: TrainingConfig) -> str:
        return self.dtype if config.precision == "auto" else config.precision

    def _header(self) -> Settings:
        header = {
            "module": type(self.module).__name__,
            "species": self.species,
            "cutoff": self.model.cutoff,
        }
        kind = _MODULES.get(header["module"])
        if kind is not None and type(self.module) is kind:
            fields = {f.name for f in dataclasses.fields(kind)} - {"parent", "name"}
            header["fields"] = {name: getattr(self.module, name) for name in sorted(fields)}
        return header

    @classmethod
    def _from_header(cls, header: Settings, module: EnergyModule | None = None) -> "GraphPotential":
        """With the module of the file if it is one of Ritz, or the one that is given."""
        if module is None and "fields" not in header:
            raise ValueError(
                f"the potential was made of a {header['module']}, which is not part of Ritz; give "
                "it: GraphPotential.load(path, module=...)."
            )
        made = _MODULES[header["module"]](**header["fields"]) if module is None else module
        return cls(made, header["species"], header["cutoff"], header["dtype"])
