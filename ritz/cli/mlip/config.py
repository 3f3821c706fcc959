"""The configuration of training potentials."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

import optax

from ritz.cli.settings.descriptions import descriptions, docstring
from ritz.cli.settings.parts import Part
from ritz.mlip import (
    KFAC,
    SGD,
    AbstractMLIP,
    Adam,
    AdamW,
    FitConfig,
    OptaxMethod,
    TrainingConfig,
)
from ritz.mlip.data.labelling import LABEL_SETTINGS, Labelling
from ritz.stages.contract import Contract
from ritz.stages.contracts import CALLBACK, LINE_SEARCH

EXAMPLES = {
    "potential": "chebyshev",
    "method": "Adam",
    "callbacks": "EarlyStopping",
    "data": "train=[structures.extxyz]",
    "train": "iterations=300",
    "fit": "force_weight=0.5",
    "evaluate": "files=[test.extxyz]",
    "predict": "files=[new.extxyz]",
    "export": "prefix=potential",
    "explore": "files=[start.extxyz]",
}
"""Short names of class paths, and one setting of each group as an example."""

CONTRACTS = {
    "potential": Contract(
        "a potential of ritz.mlip",
        (AbstractMLIP,),
        modules=("ritz.cli.mlip.potentials",),
        plugins="models",
    ),
    "method": Contract(
        "Adam, AdamW, SGD or KFAC, or an optimiser of optax",
        (Adam, AdamW, SGD, KFAC, OptaxMethod, optax.GradientTransformation),
        ("optax",),
        "optax.GradientTransformation",
        "give Adam, AdamW, SGD or KFAC; the name of an optimiser of optax, such as lion; "
        "OptaxMethod, which takes a batchsize besides; or the class path of a function of your own "
        "that says `-> optax.GradientTransformation`",
        modules=("ritz.mlip", "optax"),
        elsewhere=(
            ("bfgs", f"{LINE_SEARCH}: give Adam, or KFAC, which goes by the curvature too"),
            (
                "lm",
                "Levenberg-Marquardt takes all structures at once: give KFAC, which takes "
                "Gauss-Newton steps of batches, or Adam",
            ),
            ("online_sd", "give SGD, with lr and momentum"),
        ),
    ),
    "callbacks": CALLBACK,
}
"""The types that class paths in each setting may name."""


def _data_kind() -> type:
    """Where structures are, and the fields of `Labelling`: keys and units of their labels."""
    files = {
        "train": "Files, patterns, folders or archives to train on.",
        "test": "The same to validate with; none takes train.testpercent of those to train on.",
    }
    energies = {
        "atomic_energies": 'By species, in eV; "regression" takes those of isolated atoms '
        "(config_type=IsolatedAtom) among the structures, and fits them to the structures that are "
        "trained on where there are none; null takes 0."
    }
    hints = typing.get_type_hints(Labelling)
    fields: list[Any] = [
        ("train", list[str], dataclasses.field(default_factory=list)),
        ("test", list[str], dataclasses.field(default_factory=list)),
        *(
            (f.name, hints[f.name], dataclasses.field(default=f.default))
            for f in dataclasses.fields(Labelling)
            if f.name in LABEL_SETTINGS
        ),
        ("atomic_energies", str | dict[str, float] | None, "regression"),
    ]
    known = descriptions(Labelling)
    text = docstring(
        "Where structures are, and under which keys and in which units their labels are.",
        {**files, **{name: known[name] for name in LABEL_SETTINGS if name in known}, **energies},
    )
    return dataclasses.make_dataclass("Data", fields, kw_only=True, namespace={"__doc__": text})


if typing.TYPE_CHECKING:
    Data = Any
else:
    Data = _data_kind()
    """Where structures are, and under which keys and in which units their labels are."""


_ELSEWHERE = {
    "method",
    "atomic_energies",
    "feature_stats",
    "checkpoint_dir",
    "show_progress",
    "save_energies",
    "save_forces",
}
"""Fields that are given in another way, or for which there is a command."""

_DEFAULTS: dict[str, Any] = {
    "iterations": 300,
    "force_weight": 0.3,
    "schedule": "cosine",
    "final_fraction": 1e-3,
    "warmup_epochs": None,
    "checkpoint_interval": 10,
    "max_checkpoints": 3,
    "precision": "float32",
}
"""Where they differ from those of `TrainingConfig`."""


def _train_kind() -> Any:
    """The fields of `TrainingConfig` that are settings, and some more."""
    hints = typing.get_type_hints(TrainingConfig)
    method = Part("Adam", {"mu": 0.003, "batchsize": 16})
    fields: list[Any] = [
        ("method", Part, dataclasses.field(default_factory=lambda: method)),
        ("callbacks", list[Part], dataclasses.field(default_factory=list)),
    ]
    fields += [
        (f.name, hints[f.name], dataclasses.field(default=_DEFAULTS.get(f.name, f.default)))
        for f in dataclasses.fields(TrainingConfig)
        if f.name not in _ELSEWHERE
    ]
    known = {**descriptions(TrainingConfig), "callbacks": "Callbacks of the run."}
    names = [name for name, _, _ in fields if name in known]
    text = docstring("How a potential is trained.", {name: known[name] for name in names})
    return dataclasses.make_dataclass("Train", fields, kw_only=True, namespace={"__doc__": text})


if typing.TYPE_CHECKING:
    Train = Any
else:
    Train = _train_kind()
    """How a potential is trained: the fields of `TrainingConfig`, and `callbacks`."""


_FITTED = (
    "force_weight",
    "stress_weight",
    "regularisation",
    "energy_ratio",
    "stress_ratio",
    "folds",
    "memory_limit",
)
"""Fields of `FitConfig` that do not say which structures are taken, as `train` does."""


def _fit_kind() -> Any:
    hints = typing.get_type_hints(FitConfig)
    defaults = {f.name: f.default for f in dataclasses.fields(FitConfig)}
    fields: list[Any] = [(n, hints[n], dataclasses.field(default=defaults[n])) for n in _FITTED]
    known = descriptions(FitConfig)
    text = docstring(
        "How a linear potential is fitted; `train` says which structures are held out.",
        {name: known[name] for name in _FITTED},
    )
    return dataclasses.make_dataclass("Fit", fields, kw_only=True, namespace={"__doc__": text})


if typing.TYPE_CHECKING:
    Fit = Any
else:
    Fit = _fit_kind()
    """How a linear potential is fitted: fields of `FitConfig`."""


@dataclasses.dataclass(kw_only=True)
class Evaluate:
    """What a trained potential is compared with.

    Args:
        files: Structures with labels; none takes those of the validation split.
    """

    files: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(kw_only=True)
class Predict:
    """What is predicted.

    Args:
        files: Structures.
        forces: Whether forces and stress are predicted too.
        output: The structures with what was predicted; in the run folder if it is only a name.
        table: Their energies, as CSV.
    """

    files: list[str] = dataclasses.field(default_factory=list)
    forces: bool = True
    output: str = "predictions.extxyz"
    table: str = "predictions.csv"


@dataclasses.dataclass(kw_only=True)
class Export:
    """How a potential is written.

    Args:
        format: "aenet": a .nn.ascii file for each species.
        output: The folder; in the run folder if it is only a name.
        prefix: How the names of the files begin.
    """

    format: typing.Literal["aenet"] = "aenet"
    output: str = "aenet"
    prefix: str = "potential"


@dataclasses.dataclass(kw_only=True)
class Explore:
    """How structures are found that a committee does not know.

    Args:
        files: Structures with which trajectories begin.
        temperatures: Temperatures in K that each trajectory goes through.
        steps: Number of steps at each temperature.
        dt: The time step in fs.
        friction: Friction coefficient in 1/fs.
        copies: Number of trajectories from each structure.
        force_limit: A trajectory ends when the expected error of a force is above this, in
            eV/Angstrom; null for no limit.
        energy_limit: The same of the energy, in eV per atom.
        enough: The run ends when so many trajectories have passed a limit; null runs all to
            their ends.
        number: Largest number of structures that are selected from these.
        method: How they are selected: farthest points, or D-optimal.
        seed: Seeds thermal velocities and noise.
        max_atoms: Number of atoms treated at once; null takes the default of the device.
        output: The selected structures; in the run folder if it is only a name.
        callbacks: Callbacks of the run.
        save_time_interval: Seconds between checkpoints.
    """

    files: list[str] = dataclasses.field(default_factory=list)
    temperatures: list[float] = dataclasses.field(default_factory=lambda: [300.0, 600.0, 900.0])
    steps: int = 1000
    dt: float = 2.0
    friction: float = 0.01
    copies: int = 1
    force_limit: float | None = 0.3
    energy_limit: float | None = None
    enough: int | None = None
    number: int = 10
    method: typing.Literal["farthest", "d_optimal"] = "farthest"
    seed: int = 0
    max_atoms: int | None = None
    output: str = "candidates.extxyz"
    callbacks: list[Part] = dataclasses.field(default_factory=list)
    save_time_interval: float = 60.0


@dataclasses.dataclass
class MLIPRun:
    """Training of an interatomic potential, and what is done with it.

    Args:
        folder: Everything is written here; the same command again goes on with it.
        data: Where structures are.
        potential: What is trained: chebyshev, symmetry_functions, ace, painn, mace, or a function
            that takes the species.
        members: How many potentials are trained; several are a committee.
        begin_from: A run folder, or a file of a potential, with whose parameters training begins.
        train: How they are trained.
        fit: How one that is linear in its features is fitted.
        evaluate: What they are compared with.
        predict: What is predicted.
        export: How they are written.
        explore: How structures are found that a committee does not know.
    """

    contracts: ClassVar[Mapping[str, Contract]] = CONTRACTS
    examples: ClassVar[Mapping[str, str]] = EXAMPLES

    folder: str = "runs/mlip"
    data: Data = dataclasses.field(default_factory=Data)
    potential: Part = dataclasses.field(default_factory=lambda: Part("chebyshev"))
    members: int = 1
    begin_from: str | None = None
    train: Train = dataclasses.field(default_factory=Train)
    fit: Fit = dataclasses.field(default_factory=Fit)
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)
    predict: Predict = dataclasses.field(default_factory=Predict)
    export: Export = dataclasses.field(default_factory=Export)
    explore: Explore = dataclasses.field(default_factory=Explore)
