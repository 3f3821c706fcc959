"""Base class of trainable potentials."""

import abc
import time
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import jax
import numpy as np
from jaxtyping import Float

from ritz.driver.arguments import listed
from ritz.mlip.arguments import check_dtype, default_device
from ritz.mlip.batching.least_distances import limits
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.labels import as_structures
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.models.abstract_model import AbstractModel
from ritz.mlip.models.normalisation import Normalisation
from ritz.mlip.potentials.files import NotFiniteError, read_potential, write_potential
from ritz.mlip.potentials.fitted import FittedPotential
from ritz.mlip.potentials.predictions import PredictOut, predict, predict_dataset, save_predictions
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.driver import AbstractTraining, PotentialTraining
from ritz.mlip.training.prepare import prepare, resolve
from ritz.mlip.training.result import TrainOut
from ritz.mlip.training.run import run_training
from ritz.mlip.training.start import BEST, start_of
from ritz.potentials import AbstractPotentialSource


class AbstractMLIP(AbstractPotentialSource):
    """A potential whose energy is a sum over atoms, trained on energies, forces and stress.

    Subclasses set `model` and `dtype`, and say what is written besides parameters.
    """

    kinds: ClassVar[dict[str, type["AbstractMLIP"]]] = {}
    """All kinds of potentials by name, as files call them."""

    def __init__(self, model: AbstractModel, dtype: str):
        self.model = model
        self.dtype = dtype
        """The precision of the parameters."""
        self.parameters: Any = None
        """The parameters; None before training."""
        self.normalisation: Normalisation | None = None
        """How features and energies are scaled; None before training."""
        self.atomic_energies: dict[str, float] = {}
        """By species, in eV; what is added for each atom."""
        self.statistics: dict[str, Any] = {}
        """What aenet's files say of the training split."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the kind known to `load_potential`."""
        super().__init_subclass__(**kwargs)
        AbstractMLIP.kinds[cls.__name__] = cls

    @property
    @abc.abstractmethod
    def descriptor(self) -> AbstractDescriptor | None:
        """What features are computed with; None if there are none."""

    @abc.abstractmethod
    def untrained(self) -> Self:
        """A potential of the same form, without parameters."""

    @abc.abstractmethod
    def _header(self) -> dict[str, Any]:
        """What `_from_header` needs, as JSON can hold it."""

    @classmethod
    @abc.abstractmethod
    def _from_header(cls, header: dict[str, Any], **given: Any) -> Self:
        """The potential that `_header` is of, without parameters."""

    @property
    def species(self) -> tuple[str, ...]:
        """The chemical symbols that it knows."""
        return self.model.species

    @property
    def is_trained(self) -> bool:
        """Whether it has parameters that were trained or read."""
        return self.parameters is not None

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
        in_total: bool = False,
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
                `iterations` more epochs than it had completed, with the same bits as if it had
                never ended; a run that a callback had ended is extended. Or the file of a trained
                potential, such as `best_model.npz`: training begins with its parameters, and with
                a new optimiser.
            in_total: Whether `iterations` counts epochs from the beginning of the run that
                `resume_from` goes on with, as `ritz mlip train` does, instead of more ones.
            callback: Callbacks of the run, see `ritz.callbacks`, `EpochCallback`.
            out: Where rows go, see `driver.run`.

        Returns:
            History and errors; the potential is the trained one.

        Raises:
            TypeError: If data are given in no way, or in several.
            ValueError: If data, potential and configuration do not fit, or labels are missing.
            CheckpointError: If `resume_from` is no checkpoint of such a run.
        """
        began = time.perf_counter()
        config = TrainingConfig() if config is None else config
        start = start_of(resume_from, in_total, load_potential, False)
        config = start.config(config, structures is not None)
        data = resolve(self.descriptor, config, structures, dataset, train_dataset, test_dataset)
        start.check_energies(data[0].atomic_energies)
        with default_device(config.device):
            driver = self._driver(data, config)
            ready = time.perf_counter()
            (found,) = run_training(driver, config, start, listed(callback), out)
        self.take_from(driver)
        if config.save_best and config.checkpoint_dir is not None and driver.has_validation:
            self.save(Path(driver.working_dir) / config.checkpoint_dir / BEST)
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
        `driver.run(n * driver.n_batches)`; afterwards `take_from(driver)` takes the parameters.
        """
        config = TrainingConfig() if config is None else config
        data = resolve(self.descriptor, config, structures, dataset, train_dataset, test_dataset)
        with default_device(config.device):
            return self._driver(data, config)

    def take_from(self, driver: AbstractTraining, member: int | None = None) -> None:
        """Take parameters and statistics from a driver, for example one that `driver` has made.

        Args:
            driver: The driver.
            member: Which of a committee's.
        """
        chosen = ... if member is None else member
        prepared = driver.prepared
        self.parameters = jax.tree.map(lambda x: np.asarray(x)[chosen], driver.state.parameters)
        self.normalisation = prepared.normalisation
        self.atomic_energies = dict(prepared.datasets[0].atomic_energies)
        self.statistics = prepared.statistics
        self.dtype = driver.dtype

    @abc.abstractmethod
    def precision(self, config: TrainingConfig) -> str:
        """In which precision it would be trained: "float32" or "float64"."""

    def first_parameters(self, seed: int) -> Any:
        """What training begins with."""
        with jax.enable_x64(True):
            return self.model.init(jax.random.key(seed))

    def _driver(self, data: tuple[Any, Any], config: TrainingConfig) -> PotentialTraining:
        dtype = self.precision(config)
        first = self.first_parameters(config.run_seed)
        return PotentialTraining(
            self.model, first, prepare(self.model, *data, config, dtype), config, dtype
        )

    # Prediction.

    def frozen(self) -> FittedPotential:
        """The potential as a pure function of a structure, as `ritz.relax` takes it.

        It has no energy (NaN) for structures with atoms closer than 0.8 times the smallest distance
        between their species in the training data, or than the descriptor takes.

        Raises:
            RuntimeError: If it was not trained.
        """
        scales = self.check_trained()
        with jax.enable_x64(True):
            return FittedPotential(
                self.model, self.parameters, scales, self.atomic_energies, self.limits
            )

    @property
    def limits(self) -> Float[np.ndarray, "species species"]:
        """How far apart atoms of each two species must be, in Angstrom, see `limits`."""
        return limits(self.statistics, self.model.least, len(self.species))

    def check_trained(self) -> Normalisation:
        """How features and energies are scaled.

        Raises:
            RuntimeError: If it was not trained.
        """
        if self.parameters is None or self.normalisation is None:
            raise RuntimeError("the potential has no parameters yet; train it, or load one.")
        return self.normalisation

    def check_finite(self) -> None:
        """Refuse parameters that are not finite: nothing can be predicted with them.

        Raises:
            NotFiniteError: With the first of them.
        """
        for name, value in _flat((self.parameters, self.normalisation)).items():
            if not np.all(np.isfinite(np.asarray(value, float))):
                raise NotFiniteError(
                    f"the potential is no good: its parameters ({name}) are not finite, since "
                    "training diverged. It is not written; train with a smaller learning rate, "
                    "gradient_clip=1.0, or without structures whose energies or forces are extreme."
                )

    def predict(self, structures: Any, eval_forces: bool = False) -> PredictOut:
        """Predict total energies, and forces if they are asked for.

        Args:
            structures: `Structure` or `ase.Atoms`, one or many.
            eval_forces: Whether forces are predicted.

        Raises:
            RuntimeError: If the potential was not trained.
            ValueError: If a structure has other species.
        """
        self.check_trained()
        return predict(self, as_structures(structures), eval_forces)

    def predict_dataset(self, dataset: AbstractDataset, eval_forces: bool = False) -> PredictOut:
        """`predict` for all structures of a data set."""
        self.check_trained()
        return predict_dataset(self, dataset, eval_forces)

    # Files.

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trained potential into one file of arrays and JSON.

        Raises:
            RuntimeError: If it was not trained.
            NotFiniteError: If its parameters are not finite.
        """
        normalisation = self.check_trained()
        self.check_finite()
        header = {
            "kind": type(self).__name__, **self._header(), "dtype": self.dtype,
            "atomic_energies": self.atomic_energies, "statistics": self.statistics,
        }  # fmt: skip
        arrays = {name: np.asarray(value) for name, value in _flat(self.parameters).items()}
        arrays |= {
            f"normalisation.{name}": np.asarray(value)
            for name, value in normalisation._asdict().items()
        }
        write_potential(path, header, arrays)

    @classmethod
    def load(cls, path: str | PathLike[str], **given: Any) -> Self:
        """Read a potential that `save` has written.

        Args:
            path: The file.
            given: What is not in the file, see `GraphPotential`.

        Raises:
            ValueError: If it is no such file.
        """
        header, arrays = read_potential(path)
        kind = AbstractMLIP.kinds.get(str(header.get("kind")))
        if kind is None or not issubclass(kind, cls):
            raise ValueError(f"{path} is no {cls.__name__}, but a {header.get('kind')}.")
        try:
            potential = kind._from_header(header, **given)
            potential._take(header, arrays)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(
                f"{path} is no potential that Ritz has written: its header or arrays are damaged "
                f"({type(error).__name__}: {error})."
            ) from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return potential

    def _take(self, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take over what a file holds."""
        template = jax.eval_shape(self.model.init, jax.random.key(0))
        shapes = _flat(template)
        for name, leaf in shapes.items():
            if name not in arrays:
                raise ValueError(f"it does not fit this potential: it has no {name}.")
            if arrays[name].shape != leaf.shape or arrays[name].dtype.kind != "f":
                raise ValueError(
                    f"it does not fit this potential: {name} has the shape {arrays[name].shape} "
                    f"and the type {arrays[name].dtype}, but numbers of the shape {leaf.shape} are "
                    "needed."
                )
        self.normalisation = Normalisation(
            *(arrays[f"normalisation.{name}"] for name in Normalisation._fields)
        )
        leaves = [arrays[name] for name in shapes]
        self.parameters = jax.tree.unflatten(jax.tree.structure(template), leaves)
        self.atomic_energies = {k: float(v) for k, v in header["atomic_energies"].items()}
        self.statistics = dict(header["statistics"])
        self.dtype = check_dtype("dtype", header["dtype"])
        self.check_finite()


def load_potential(path: str | PathLike[str], **given: Any) -> Any:
    """Read a potential of any kind that `save` has written, see `AbstractMLIP.load`."""
    return AbstractMLIP.load(path, **given)


def _flat(parameters: Any) -> dict[str, Any]:
    """Leaves by their place in the tree."""
    found, _ = jax.tree.flatten_with_path(parameters)
    return {
        ".".join(str(getattr(k, "key", getattr(k, "idx", k))) for k in path): leaf
        for path, leaf in found
    }
