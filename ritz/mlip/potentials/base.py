"""Base class of trainable potentials."""

import abc
from os import PathLike
from typing import Any, ClassVar, Self

import jax
import numpy as np
from jaxtyping import Float, PyTree

from ritz.driver.arguments import Plugins
from ritz.driver.processes.division import on_host
from ritz.driver.signatures import suggests_names
from ritz.mlip.arrays import AnyArray, check_dtype
from ritz.mlip.batching.survey import pair_limits
from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.data.labels import StructuresLike, as_structures
from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor
from ritz.mlip.models.abstract_model import AbstractModel, Normalisation
from ritz.mlip.potentials.files import NotFiniteError, read_potential, write_potential
from ritz.mlip.potentials.fitted import FittedPotential
from ritz.mlip.potentials.predicting import predict, predict_dataset
from ritz.mlip.potentials.predictions import PredictOut
from ritz.mlip.potentials.training import Trainee, train
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.config_fields import config_or_default
from ritz.mlip.training.driver import AbstractTraining, PotentialTraining
from ritz.mlip.training.prepare import GivenData, Splits, prepare_data
from ritz.mlip.training.run import TrainOut
from ritz.potentials import AbstractPotentialSource
from ritz.types import Settings


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
        self.parameters: PyTree = None
        """The parameters; None before training."""
        self.normalisation: Normalisation | None = None
        """Scales of features and energies; None before training."""
        self.atomic_energies: dict[str, float] = {}
        """Energies of free atoms by species, in eV."""
        self.statistics: Settings = {}
        """Statistics of the training split, as aenet's files have them."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the kind known to `load_potential`."""
        super().__init_subclass__(**kwargs)
        AbstractMLIP.kinds[cls.__name__] = cls

    @property
    @abc.abstractmethod
    def descriptor(self) -> AbstractDescriptor | None:
        """The descriptor that computes features; None if the model takes none."""

    @abc.abstractmethod
    def untrained(self) -> Self:
        """A potential of the same form, without parameters."""

    @abc.abstractmethod
    def _header(self) -> Settings:
        """Settings that `_from_header` takes, as JSON."""

    @classmethod
    @abc.abstractmethod
    def _from_header(cls, header: Settings, **given: Any) -> Self:
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

    @suggests_names
    def train(
        self,
        structures: StructuresLike | None = None,
        config: TrainingConfig | None = None,
        *,
        dataset: AbstractDataset | None = None,
        train_dataset: AbstractDataset | None = None,
        test_dataset: AbstractDataset | None = None,
        resume_from: str | PathLike[str] | None = None,
        in_total: bool = False,
        callback: Plugins = None,
        out: Plugins = None,
    ) -> TrainOut:
        """Train the potential.

        Args:
            structures: `Structure` or `ase.Atoms`; `testpercent` of them are held out.
            config: How to train.
            dataset: A data set that is divided in the same way.
            train_dataset: A data set to train on, all of it.
            test_dataset: With `train_dataset`, one to validate with.
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
            TypeError: If data are given in no way or several, or `config` is no `TrainingConfig`.
            ValueError: If data, potential and configuration do not fit, or labels are missing.
            CheckpointError: If `resume_from` is no checkpoint of such a run.
        """
        given = GivenData(structures, dataset, train_dataset, test_dataset)
        config = config_or_default("config", config, TrainingConfig)
        return train(
            self._trainee,
            given,
            config,
            resume_from=resume_from,
            in_total=in_total,
            callback=callback,
            out=out,
        )[0]

    @suggests_names
    def driver(
        self,
        structures: StructuresLike | None = None,
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
        given = GivenData(structures, dataset, train_dataset, test_dataset)
        driver = self._trainee.driver(given, config)
        assert isinstance(driver, PotentialTraining)
        return driver

    @property
    def _trainee(self) -> Trainee:
        def take(driver: AbstractTraining) -> list[AbstractMLIP]:
            self.take_from(driver)
            return [self]

        return Trainee(self.descriptor, self._driver, take, load_potential)

    def take_from(self, driver: AbstractTraining, member: int | None = None) -> None:
        """Take parameters and statistics from a driver, for example one that `driver` has made.

        Args:
            driver: The driver.
            member: Which of a committee's.
        """
        place = ... if member is None else member
        prepared, found = driver.prepared, on_host(driver.state.parameters)
        self.parameters = jax.tree.map(lambda x: np.asarray(x)[place], found)
        self.normalisation = prepared.normalisation
        self.atomic_energies = dict(prepared.datasets[0].atomic_energies)
        self.statistics = prepared.statistics
        self.dtype = driver.dtype

    @abc.abstractmethod
    def precision(self, config: TrainingConfig) -> str:
        """The precision of training, "float32" or "float64"; "auto" is that of the potential."""

    def first_parameters(self, seed: int) -> PyTree:
        """Random parameters that training begins with, from a seed."""
        with jax.enable_x64(True):
            return self.model.init(jax.random.key(seed))

    def _driver(self, data: Splits, config: TrainingConfig) -> PotentialTraining:
        dtype = self.precision(config)
        first = self.first_parameters(config.run_seed)
        return PotentialTraining(
            self.model, first, prepare_data(self.model, *data, config, dtype), config, dtype
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
        """Smallest allowed distance of each two species, in Angstrom, see `pair_limits`."""
        return pair_limits(self.statistics, self.model.min_distance, len(self.species))

    def check_trained(self) -> Normalisation:
        """The scales of a trained potential.

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
        for name, value in _named_leaves((self.parameters, self.normalisation)).items():
            if not np.all(np.isfinite(np.asarray(value, float))):
                raise NotFiniteError(
                    f"the potential is no good: its parameters ({name}) are not finite, since "
                    "training diverged. It is not written; train with a smaller learning rate, "
                    "gradient_clip=1.0, or without structures whose energies or forces are extreme."
                )

    def predict(self, structures: StructuresLike, eval_forces: bool = False) -> PredictOut:
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

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trained potential into one file of arrays and JSON.

        Raises:
            RuntimeError: If it was not trained.
            NotFiniteError: If its parameters are not finite.
        """
        normalisation = self.check_trained()
        self.check_finite()
        header = {
            "kind": type(self).__name__,
            **self._header(),
            "dtype": self.dtype,
            "atomic_energies": self.atomic_energies,
            "statistics": self.statistics,
        }
        scales = {f"normalisation.{name}": x for name, x in normalisation._asdict().items()}
        arrays = {**_named_leaves(self.parameters), **scales}
        write_potential(path, header, {name: np.asarray(x) for name, x in arrays.items()})

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

    def _take(self, header: Settings, arrays: dict[str, np.ndarray]) -> None:
        """Set parameters and statistics from a file."""
        template = jax.eval_shape(self.model.init, jax.random.key(0))
        shapes = _named_leaves(template)
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
        structure = jax.tree.structure(template)
        self.parameters = jax.tree.unflatten(structure, [arrays[name] for name in shapes])
        self.atomic_energies = {k: float(v) for k, v in header["atomic_energies"].items()}
        self.statistics = dict(header["statistics"])
        self.dtype = check_dtype("dtype", header["dtype"])
        self.check_finite()


def load_potential(path: str | PathLike[str], **given: Any) -> AbstractMLIP:
    """Read a potential of any kind that `save` has written, see `AbstractMLIP.load`."""
    return AbstractMLIP.load(path, **given)


def _named_leaves(parameters: PyTree) -> dict[str, AnyArray]:
    """Leaves by their place in the tree."""
    leaves, _ = jax.tree.flatten_with_path(parameters)
    return {
        ".".join(str(getattr(k, "key", getattr(k, "idx", k))) for k in path): leaf
        for path, leaf in leaves
    }
