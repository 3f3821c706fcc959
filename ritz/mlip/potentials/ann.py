"""A potential of atom-centred networks: training, prediction, files."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from ritz.driver.signatures import suggests_names
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.labels import StructuresLike
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.linear.config import FitConfig
from ritz.mlip.models.abstract_model import SMALLEST, Normalisation
from ritz.mlip.models.atomic import AtomicModel, checked_architecture
from ritz.mlip.potentials.aenet import AenetNetwork, read_nn_ascii, write_nn_ascii
from ritz.mlip.potentials.base import AbstractMLIP
from ritz.mlip.potentials.fitting import fit_potential
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.config_fields import config_or_default
from ritz.mlip.training.prepare import GivenData
from ritz.mlip.training.run import TrainOut
from ritz.types import Settings


class ANNPotential(AbstractMLIP):
    """A potential of atom-centred neural networks (Behler and Parrinello, PRL 98, 146401 (2007)).

    The energy is a sum over atoms of a network of the atom's features, one network for each
    species; forces are its derivatives.

    Args:
        arch: The hidden layers by species, such as `{"O": [(20, "tanh"), (20, "tanh")]}`; the
            output layer is linear. Activations: linear, tanh, sigmoid, silu, gelu, softplus, relu.
        descriptor: What features are computed with.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If species or activations are not allowed.
    """

    @suggests_names
    def __init__(
        self,
        arch: Mapping[str, Sequence[tuple[int, str]]],
        descriptor: AbstractDescriptor,
    ):
        if not isinstance(descriptor, AbstractDescriptor):
            raise TypeError(
                "descriptor must be a descriptor such as ChebyshevDescriptor(...), but "
                f"{descriptor!r} was given."
            )
        super().__init__(
            AtomicModel(checked_architecture(arch, descriptor.species), descriptor),
            descriptor.dtype,
        )

    model: AtomicModel

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> "ANNPotential":
        """Read a potential that `save` has written: aenet-python's name of `load`."""
        return cls.load(path)

    @property
    def arch(self) -> dict[str, list[tuple[int, str]]]:
        """The hidden layers by species."""
        return {symbol: list(hidden) for symbol, hidden in self.model.arch}

    @property
    def descriptor(self) -> AbstractDescriptor:
        """The descriptor that computes features."""
        return self.model.descriptor

    def __repr__(self) -> str:
        state = "trained" if self.is_trained else "not trained"
        return f"ANNPotential({self.arch}, {self.descriptor}; {state})"

    def untrained(self) -> "ANNPotential":
        """Another one with the same architecture and descriptor, without parameters."""
        return ANNPotential(self.arch, self.descriptor)

    @override
    def precision(self, config: TrainingConfig) -> str:
        return self.descriptor.dtype if config.precision == "auto" else config.precision

    def fit(
        self,
        structures: StructuresLike | None = None,
        config: FitConfig | None = None,
        *,
        dataset: AbstractDataset | None = None,
        train_dataset: AbstractDataset | None = None,
        test_dataset: AbstractDataset | None = None,
    ) -> TrainOut:
        """Fit networks without hidden layers, which are linear in features, in closed form.

        Regularised least squares of energies, forces and stress; see `FitConfig`.

        Args:
            structures: See `train`.
            config: How to fit.
            dataset: See `train`.
            train_dataset: See `train`.
            test_dataset: See `train`.

        Returns:
            The errors, in a single row, and what was chosen, in `stats`: the `regularisation`, the
            `energy_ratio` and the `stress_ratio`, and the `left_out_` errors that they were chosen
            by.

        Raises:
            TypeError: If data are given in no way or several, or `config` is no `FitConfig`.
            ValueError: If a network has hidden layers, or data and potential do not fit, labels are
                missing, or structures are fewer than folds.
        """
        given = GivenData(structures, dataset, train_dataset, test_dataset)
        return fit_potential(self, given, config_or_default("config", config, FitConfig))

    def _header(self) -> Settings:
        return {"arch": self.arch, "descriptor": self.descriptor.header()}

    @classmethod
    def _from_header(cls, header: Settings, **given: Any) -> "ANNPotential":
        return cls(header["arch"], AbstractDescriptor.from_header(header["descriptor"]))

    # Files of aenet.

    def to_aenet_ascii(
        self,
        folder: str | PathLike[str],
        prefix: str = "potential",
        structures: object = None,
        descriptor_stats: Mapping[str, ArrayLike] | None = None,
    ) -> dict[str, Path]:
        """Write the potential as aenet reads it: `PREFIX.SPECIES.nn.ascii` for each species.

        The statistics of features and energies are those that training used.

        Args:
            folder: Where the files go; it is made if it is not there.
            prefix: How their names begin.
            structures: Kept for scripts written for aenet, where statistics are computed from
                them; here they are known from training.
            descriptor_stats: The least and largest value of each feature, as "min" and "max", in
                place of those of training. Others under "mean", "std" or "cov" are compared with
                those that training used, since predictions depend on them.

        Returns:
            The files by species.

        Raises:
            RuntimeError: If the potential was not trained.
            ValueError: If aenet has no such descriptor or activation, `descriptor_stats` are not
                those of training, or parameters are not finite.
        """
        mean, std, e_scaling, e_shift = self.check_trained()
        self.check_finite()
        self.descriptor.aenet_parameters()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        std = np.where(np.isfinite(std), np.maximum(std, SMALLEST), 0.0)
        known, zeros = dict(self.statistics), np.zeros(self.descriptor.n_features)
        given = dict(descriptor_stats or {})
        for name, used in (("mean", mean), ("std", std), ("cov", std**2)):
            if name in given and not np.allclose(given[name], used, rtol=1e-6, atol=1e-9):
                raise ValueError(
                    f"descriptor_stats has another {name!r} than training used, with which "
                    "predictions would be others; leave it out."
                )
        known |= {f"feature_{name}": given[name] for name in ("min", "max") if name in given}
        files = {}
        for symbol, hidden in self.model.arch:
            files[symbol] = folder / f"{prefix}.{symbol}.nn.ascii"
            network = AenetNetwork(
                species=symbol,
                hidden=hidden,
                layers=[
                    {k: np.asarray(v, float) for k, v in layer.items()}
                    for layer in self.parameters[symbol]
                ],
                descriptor=self.descriptor,
                description="Chebyshev descriptor, trained by Ritz",
                feature_min=np.asarray(known.get("feature_min", zeros)),
                feature_max=np.asarray(known.get("feature_max", zeros)),
                feature_mean=np.asarray(mean, float),
                feature_square=std**2 + np.asarray(mean, float) ** 2,
                n_evaluations=known.get("n_atoms", 0),
                file="ritz",
                is_normalised=True,
                e_scaling=float(e_scaling),
                e_shift=float(e_shift),
                atomic_energies={
                    s: self.atomic_energies.get(s, 0.0) for s in self.descriptor.species
                },
                n_atoms=known.get("n_atoms", 0),
                n_structures=known.get("n_structures", 0),
                e_min=known.get("e_min", 0.0),
                e_max=known.get("e_max", 0.0),
                e_mean=known.get("e_mean", 0.0),
            )
            write_nn_ascii(files[symbol], network)
        return files

    @classmethod
    def from_aenet_ascii(
        cls, files: Mapping[str, str | PathLike[str]] | Sequence[str | PathLike[str]]
    ) -> "ANNPotential":
        """Read a potential of aenet, from one file for each species.

        Raises:
            ValueError: If a file cannot be understood, or they do not belong together.
        """
        paths = list(files.values()) if isinstance(files, Mapping) else list(files)
        found = {network.species: network for network in map(read_nn_ascii, paths)}
        if not found:
            raise ValueError("no files were given.")
        first = next(iter(found.values()))
        for symbol, network in found.items():
            same = network.descriptor == first.descriptor and np.allclose(
                [network.e_scaling, network.e_shift], [first.e_scaling, first.e_shift], rtol=1e-12
            )
            if not same or not np.allclose(network.feature_mean, first.feature_mean, rtol=1e-12):
                raise ValueError(
                    f"the network of {symbol} has another descriptor or other statistics than that "
                    f"of {first.species}; potentials with statistics of their own for each "
                    "species cannot be read."
                )
        potential = cls({s: network.hidden for s, network in found.items()}, first.descriptor)
        potential.parameters = {symbol: list(network.layers) for symbol, network in found.items()}
        std = np.where(first.feature_std > 1e-10, first.feature_std, np.inf)
        scaling = (first.e_scaling, first.e_shift) if first.is_normalised else (1.0, 0.0)
        potential.normalisation = Normalisation(first.feature_mean, std, *scaling)
        potential.atomic_energies = dict(first.atomic_energies)
        potential.statistics = {
            "feature_min": first.feature_min.tolist(),
            "feature_max": first.feature_max.tolist(),
            "n_atoms": first.n_atoms,
            "n_structures": first.n_structures,
            "e_min": first.e_min,
            "e_max": first.e_max,
            "e_mean": first.e_mean,
        }
        return potential
