"""A potential of atom-centred networks: training, prediction, files."""

import dataclasses
import logging
import time
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ritz.driver.arguments import listed
from ritz.mlip import potential_file
from ritz.mlip.arguments import placed
from ritz.mlip.chebyshev import ChebyshevDescriptor
from ritz.mlip.config import TrainingConfig
from ritz.mlip.datasets import AbstractDataset
from ritz.mlip.fitted import FittedPotential
from ritz.mlip.model import SMALLEST, AtomicModel, Normalisation
from ritz.mlip.networks import Networks, checked_architecture, init_networks
from ritz.mlip.nn_ascii import AenetNetwork, read_nn_ascii, write_nn_ascii
from ritz.mlip.predict_out import PredictOut
from ritz.mlip.predicting import predict, save_predictions
from ritz.mlip.prepare import Prepared, prepare, resolve
from ritz.mlip.run_training import run_training
from ritz.mlip.structure import as_structures
from ritz.mlip.train_out import TrainOut
from ritz.mlip.training import AbstractTraining, PotentialTraining

_logger = logging.getLogger(__name__)


class ANNPotential:
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

    def __init__(
        self,
        arch: Mapping[str, Sequence[tuple[int, str]]],
        descriptor: ChebyshevDescriptor,
    ):
        if not isinstance(descriptor, ChebyshevDescriptor):
            raise TypeError(
                f"descriptor must be a ChebyshevDescriptor, but {descriptor!r} was given."
            )
        self.model = AtomicModel(checked_architecture(arch, descriptor.species), descriptor)
        self.networks: Networks | None = None
        """The networks; None before training."""
        self.normalisation: Normalisation | None = None
        """How features and energies are scaled for the networks; None before training."""
        self.atomic_energies: dict[str, float] = {}
        """By species, in eV; what is added for each atom."""
        self.statistics: dict[str, Any] = {}
        """What aenet's files say of the training split."""
        self.dtype = descriptor.dtype
        """The precision of the networks."""

    @property
    def arch(self) -> dict[str, list[tuple[int, str]]]:
        """The hidden layers by species."""
        return {symbol: list(hidden) for symbol, hidden in self.model.arch}

    @property
    def descriptor(self) -> ChebyshevDescriptor:
        """What features are computed with."""
        return self.model.descriptor

    @property
    def is_trained(self) -> bool:
        """Whether it has networks that were trained or read."""
        return self.networks is not None

    def __repr__(self) -> str:
        state = "trained" if self.is_trained else "not trained"
        return f"ANNPotential({self.arch}, {self.descriptor}; {state})"

    # Training.

    def train(
        self,
        structures: Any = None,
        config: TrainingConfig | None = None,
        *,
        dataset: AbstractDataset | None = None,
        train_dataset: AbstractDataset | None = None,
        test_dataset: AbstractDataset | None = None,
        resume_from: str | PathLike[str] | None = None,
        callback: Any = None,
        out: Any = None,
    ) -> TrainOut:
        """Train the potential.

        Args:
            structures: What to train on, and to hold out by `testpercent`; or one of the next.
            config: How to train.
            dataset: A data set that is divided in the same way.
            train_dataset: What to train on.
            test_dataset: What to hold out, with `train_dataset`.
            resume_from: A checkpoint, or a folder of them, from which training goes on for
                `iterations` more epochs, with the same bits as if it had never ended.
            callback: Callbacks of the run, see `ritz.callbacks`, `EpochCallback`.
            out: Where rows go, see `driver.run`.

        Returns:
            History and errors; the potential is the trained one.

        Raises:
            TypeError: If data are given in no way, or in several.
            ValueError: If data, descriptor and configuration do not fit, or labels are missing.
            CheckpointError: If `resume_from` is no checkpoint of such a run.
        """
        began = time.perf_counter()
        config = TrainingConfig() if config is None else config
        data = resolve(self.descriptor, config, structures, dataset, train_dataset, test_dataset)
        with placed(config.device):
            prepared = prepare(*data, config, self._precision(config))
            ready = time.perf_counter()
            driver = self._driver(prepared, config)
            (found,) = run_training(driver, config, resume_from, listed(callback), out)
        self.take_from(driver)
        if config.save_energies or config.save_forces:
            found.energies = save_predictions(self, data, config, driver.working_dir)
        found.timing["preparation"] = ready - began
        found.timing["total"] = time.perf_counter() - began
        return found

    def driver(
        self,
        structures: Any = None,
        config: TrainingConfig | None = None,
        *,
        dataset: AbstractDataset | None = None,
        train_dataset: AbstractDataset | None = None,
        test_dataset: AbstractDataset | None = None,
    ) -> PotentialTraining:
        """The driver that `train` runs, for those who want to run it themselves.

        It takes the data as `train` does. A run of `n` epochs is
        `driver.run(n * driver.n_batches)`; afterwards `take_from(driver)` takes the networks.
        """
        config = TrainingConfig() if config is None else config
        data = resolve(self.descriptor, config, structures, dataset, train_dataset, test_dataset)
        with placed(config.device):
            return self._driver(prepare(*data, config, self._precision(config)), config)

    def take_from(self, driver: AbstractTraining, member: int | None = None) -> None:
        """Take networks and statistics from a driver, for example one that `driver` has made.

        Args:
            driver: The driver.
            member: Which of a committee's.
        """
        chosen = ... if member is None else member
        prepared = driver.prepared
        self.networks = jax.tree.map(lambda x: np.asarray(x)[chosen], driver.state.parameters)
        self.normalisation = prepared.normalisation
        self.atomic_energies = dict(prepared.datasets[0].atomic_energies)
        self.statistics = prepared.statistics
        self.dtype = driver.dtype

    def _precision(self, config: TrainingConfig) -> str:
        return self.descriptor.dtype if config.precision == "auto" else config.precision

    def _driver(self, prepared: Prepared, config: TrainingConfig) -> PotentialTraining:
        with jax.enable_x64(True):
            first = init_networks(
                jax.random.key(config.run_seed), self.model.arch, self.descriptor.n_features
            )
        return PotentialTraining(self.model, first, prepared, config, self._precision(config))

    # Prediction.

    def frozen(self) -> FittedPotential:
        """The potential as a pure function of a structure, as `ritz.relax` takes it.

        Raises:
            RuntimeError: If it was not trained.
        """
        self._check_trained()
        assert self.networks is not None and self.normalisation is not None
        with jax.enable_x64(True):
            return FittedPotential(
                self.model, self.networks, self.normalisation, self.atomic_energies
            )

    def _check_trained(self) -> None:
        if not self.is_trained:
            raise RuntimeError("the potential has no networks yet; train it, or load one.")

    def predict(self, structures: Any, eval_forces: bool = False) -> PredictOut:
        """Predict total energies, and forces if they are asked for.

        Args:
            structures: `Structure` or `ase.Atoms`, one or many.
            eval_forces: Whether forces are predicted.

        Raises:
            RuntimeError: If the potential was not trained.
            ValueError: If a structure has other species.
        """
        self._check_trained()
        return predict(self, as_structures(structures), eval_forces)

    def predict_dataset(self, dataset: AbstractDataset, eval_forces: bool = False) -> PredictOut:
        """`predict` for all structures of a data set."""
        return self.predict(list(dataset), eval_forces)

    # Files.

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trained potential into one file of arrays and JSON.

        Raises:
            RuntimeError: If it was not trained.
        """
        self._check_trained()
        assert self.networks is not None and self.normalisation is not None
        descriptor = dataclasses.asdict(self.descriptor)
        header = {
            "arch": self.arch, "descriptor": descriptor, "dtype": self.dtype,
            "atomic_energies": self.atomic_energies, "statistics": self.statistics,
        }  # fmt: skip
        arrays = {name: np.asarray(value) for name, value in _flat(self.networks).items()}
        arrays |= {
            f"normalisation.{name}": np.asarray(value)
            for name, value in self.normalisation._asdict().items()
        }
        potential_file.write(path, header, arrays)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "ANNPotential":
        """Read a potential that `save` has written.

        Raises:
            ValueError: If it is no such file.
        """
        header, arrays = potential_file.read(path)
        potential = cls(header["arch"], ChebyshevDescriptor(**header["descriptor"]))
        potential.normalisation = Normalisation(
            *(arrays[f"normalisation.{name}"] for name in Normalisation._fields)
        )
        potential.networks = {
            symbol: [
                {part: arrays[f"{symbol}.{number}.{part}"] for part in ("weights", "bias")}
                for number in range(len(hidden) + 1)
            ]
            for symbol, hidden in potential.model.arch
        }
        potential.atomic_energies = header["atomic_energies"]
        potential.statistics = header["statistics"]
        potential.dtype = header["dtype"]
        return potential

    def to_aenet_ascii(
        self, folder: str | PathLike[str], prefix: str = "potential"
    ) -> dict[str, Path]:
        """Write the potential as aenet reads it: `PREFIX.SPECIES.nn.ascii` for each species.

        The statistics of features and energies are those that training used.

        Args:
            folder: Where the files go; it is made if it is not there.
            prefix: How their names begin.

        Returns:
            The files by species.

        Raises:
            RuntimeError: If the potential was not trained.
            ValueError: If aenet has no such activation.
        """
        self._check_trained()
        assert self.networks is not None and self.normalisation is not None
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        mean, std, e_scaling, e_shift = self.normalisation
        std = np.where(np.isfinite(std), np.maximum(std, SMALLEST), 0.0)
        known, zeros = self.statistics, np.zeros(self.descriptor.n_features)
        files = {}
        for symbol, hidden in self.model.arch:
            files[symbol] = folder / f"{prefix}.{symbol}.nn.ascii"
            network = AenetNetwork(
                symbol, hidden,
                [{k: np.asarray(v, float) for k, v in layer.items()}
                 for layer in self.networks[symbol]],
                self.descriptor, "Chebyshev descriptor, trained by Ritz",
                np.asarray(known.get("feature_min", zeros)),
                np.asarray(known.get("feature_max", zeros)),
                np.asarray(mean, float), std**2 + np.asarray(mean, float) ** 2,
                known.get("n_atoms", 0), "ritz", True, float(e_scaling), float(e_shift),
                {s: self.atomic_energies.get(s, 0.0) for s in self.descriptor.species},
                known.get("n_atoms", 0), known.get("n_structures", 0),
                *(known.get(name, 0.0) for name in ("e_min", "e_max", "e_mean")),
            )  # fmt: skip
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
        potential.networks = {symbol: list(network.layers) for symbol, network in found.items()}
        std = np.where(first.feature_std > 1e-10, first.feature_std, np.inf)
        scaling = (first.e_scaling, first.e_shift) if first.is_normalised else (1.0, 0.0)
        potential.normalisation = Normalisation(first.feature_mean, std, *scaling)
        potential.atomic_energies = dict(first.atomic_energies)
        potential.statistics = {
            "feature_min": first.feature_min.tolist(), "feature_max": first.feature_max.tolist(),
            "n_atoms": first.n_atoms, "n_structures": first.n_structures, "e_min": first.e_min,
            "e_max": first.e_max, "e_mean": first.e_mean,
        }  # fmt: skip
        return potential


def _flat(networks: Networks) -> dict[str, Any]:
    return {
        f"{symbol}.{number}.{part}": value
        for symbol, layers in networks.items()
        for number, layer in enumerate(layers)
        for part, value in layer.items()
    }
