"""Train, evaluate and use machine-learning interatomic potentials."""

import argparse
import contextlib
import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from ritz.checkpoint.folder import CheckpointFolder
from ritz.checkpoint.resume import saved_steps
from ritz.cli.mlip_config import SHORT_NAMES, MLIPRun
from ritz.cli.results import facts, summarise
from ritz.cli.run_folder import KeepConfig
from ritz.driver.arguments import check_count
from ritz.folders.lock import FolderLock
from ritz.loggers import CSVLog, JsonLog
from ritz.mlip import (
    AbstractMLIP,
    ANNPotential,
    CommitteeConfig,
    CommitteePotential,
    PredictOut,
    ReferenceEnergies,
    Structure,
    StructureDataset,
    TrainingConfig,
    load_potential,
    read_structures,
)
from ritz.mlip.datasets import split_indices
from ritz.mlip.parity import errors_of, plot_parity
from ritz.stages.parts import make

_logger = logging.getLogger("ritz")

MODEL = "potential.npz"
COMMITTEE = "committee"


def run(command: str, given: MLIPRun, text: str, options: argparse.Namespace) -> None:
    """Train, evaluate, predict or export.

    Args:
        command: Which of them.
        given: The configuration.
        text: The same, as YAML.
        options: `dry_run` and `progress`.

    Raises:
        ValueError: If the configuration is wrong, or what a command needs is missing.
    """
    if command == "train":
        free = contextlib.nullcontext() if options.dry_run else FolderLock(given.folder).held()
        with free:
            _train(given, text, options)
    else:
        actions = {"evaluate": _evaluate, "predict": _predict, "export": _export}
        actions[command](given, options.dry_run)


# Training.


def _train(given: MLIPRun, text: str, options: argparse.Namespace) -> None:
    folder = Path(given.folder)
    check_count("members", given.members, 1)
    train, test = _splits(given)
    species = sorted({symbol for s in train for symbol in s.species})
    potential = make(
        "potential", given.potential.as_dict(), {"species": species}, SHORT_NAMES["potential"]
    )
    if not isinstance(potential, AbstractMLIP):
        raise ValueError(
            f"potential: {given.potential.class_path} returned {type(potential).__name__}, but a "
            "potential of ritz.mlip is needed."
        )
    energies = _atomic_energies(given, train)
    config = _config(given, energies, folder, options.progress)
    limits = config.max_energy, config.max_forces
    config = dataclasses.replace(config, max_energy=None, max_forces=None)
    datasets: dict[str, Any] = {
        "train_dataset": StructureDataset(train, potential.descriptor, energies, *limits),
        "test_dataset": None,
    }
    if test:
        datasets["test_dataset"] = StructureDataset(test, potential.descriptor, energies, *limits)
    if options.dry_run:
        sys.stdout.write(
            f"train: {potential!r}, {len(train)} structures of {', '.join(species)}, {len(test)} "
            f"held out, {config.iterations} epochs; everything can be built. Nothing was written.\n"
        )
        return
    config, saved = _remaining(config, folder, len(datasets["train_dataset"]))
    if config is None:
        sys.stdout.write(f"all epochs are done; everything in {folder}\n")
        return
    callbacks = [make(f"train.callbacks.{i}", part.as_dict(), {}, SHORT_NAMES["callbacks"])
                 for i, part in enumerate(given.train.callbacks)]  # fmt: skip
    settings = {
        **datasets, "config": config, "resume_from": saved,
        "callback": [*callbacks, KeepConfig(folder, text)],
        "out": [JsonLog(folder / "train", save_params=False), CSVLog(folder / "train")],
    }  # fmt: skip
    if given.members > 1:
        committee = CommitteePotential.of(potential)
        members = CommitteeConfig(
            given.members, base_seed=config.run_seed, output_dir=folder / COMMITTEE
        )
        found = committee.train(committee_config=members, **settings)
        outs = found.trainouts
    else:
        found = potential.train(**settings)
        outs = [found]
        potential.save(folder / MODEL)
    outs[0].errors.to_csv(folder / "errors.csv")
    outs[0].plot_training_summary(folder / "errors.png")
    _summarise(folder, "train", {**found.stats, **facts(folder / "checkpoints" / "train")})
    sys.stdout.write(f"{found}\npicture in {folder / 'errors.png'}\neverything in {folder}\n")


def _splits(given: MLIPRun) -> tuple[list[Structure], list[Structure]]:
    """Structures to train on, and those to validate with."""
    if not given.data.train:
        raise ValueError("data.train: which files? Give data.train='[data/*.xsf]', for example.")
    structures = _read("data.train", given, given.data.train)
    if given.data.test:
        return structures, _read("data.test", given, given.data.test)
    seed = given.train.seed or 0
    split_seed = seed if given.train.split_seed is None else given.train.split_seed
    train, test = split_indices(len(structures), given.train.testpercent, split_seed)
    return [structures[i] for i in train], [structures[i] for i in test]


def _read(key: str, given: MLIPRun, files: Sequence[str]) -> list[Structure]:
    data = given.data
    try:
        return read_structures(files, data.energy_key, data.forces_key, data.stress_key)
    except (ValueError, OSError) as error:
        raise ValueError(f"{key}: {error}") from error


def _atomic_energies(given: MLIPRun, train: Sequence[Structure]) -> dict[str, float] | None:
    wanted = given.data.atomic_energies
    if wanted != "regression":
        if isinstance(wanted, str):
            raise ValueError(
                f"data.atomic_energies: {wanted!r} was given; it is 'regression', null, or "
                "energies by species."
            )
        return wanted
    try:
        found = ReferenceEnergies.from_regression(train)
    except ValueError as error:
        _logger.info("Energies of atoms are left at 0: %s", error)
        return None
    told = ", ".join(f"{symbol} {energy:.6f}" for symbol, energy in found.atomic_energies.items())
    _logger.info("Energies of atoms from a regression, in eV: %s", told)
    return dict(found.atomic_energies)


def _config(given: MLIPRun, energies: Any, folder: Path, progress: bool) -> TrainingConfig:
    own = {f.name: getattr(given.train, f.name) for f in dataclasses.fields(given.train)}
    del own["callbacks"]
    own["method"] = make("train.method", own["method"].as_dict(), {}, SHORT_NAMES["method"])
    try:
        return TrainingConfig(
            **own, atomic_energies=energies, show_progress=progress,
            checkpoint_dir=str(folder / "checkpoints" / "train"),
        )  # fmt: skip
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"train.{error}") from error


def _remaining(config: TrainingConfig, folder: Path, n_structures: int) -> tuple[Any, Path | None]:
    """The configuration for what is left to do, and where it goes on."""
    saved = folder / "checkpoints" / "train"
    if not CheckpointFolder(saved).entries():
        return config, None
    began, step = saved_steps(saved)
    n_batches = -(-n_structures // config.method.batchsize)
    left = config.iterations - (step - began) // n_batches
    if left <= 0:
        return None, saved
    return dataclasses.replace(config, iterations=left), saved


# With a trained potential.


def _trained(folder: Path) -> tuple[Any, Sequence[AbstractMLIP]]:
    """The potential or committee of a run folder, and its members."""
    if (folder / COMMITTEE).is_dir():
        committee = CommitteePotential.from_directory(folder / COMMITTEE)
        return committee, committee.members
    if not (folder / MODEL).is_file():
        raise ValueError(
            f"there is no trained potential in {folder}; run `ritz mlip train folder={folder} "
            "data.train=...` first."
        )
    potential = load_potential(folder / MODEL)
    return potential, [potential]


def _evaluate(given: MLIPRun, dry_run: bool) -> None:
    folder = Path(given.folder)
    _, members = _trained(folder)
    if given.evaluate.files:
        structures = _read("evaluate.files", given, given.evaluate.files)
    else:
        structures = _splits(given)[1]
        if structures:  # without those that training has left out
            limits = given.train.max_energy, given.train.max_forces
            energies = members[0].atomic_energies
            structures = StructureDataset(structures, None, energies, *limits).structures
    if not structures:
        raise ValueError("evaluate.files: nothing was held out; say which files.")
    if dry_run:
        sys.stdout.write(f"evaluate: {len(structures)} structures. Nothing was written.\n")
        return
    found, _ = _mean(members, structures, True)
    errors = errors_of(found)
    if not np.isfinite(errors["RMSE_energy"]):
        raise ValueError("the structures have no energies; say under which key: data.energy_key.")
    table = found.to_dataframe()
    table.to_csv(folder / "evaluate.csv", index=False)
    picture = plot_parity(found, folder / "parity.png")
    _summarise(folder, "evaluate", errors)
    lines = [f"{len(structures)} structures",
             f"energy  RMSE {1e3 * errors['RMSE_energy']:.3f}, "
             f"MAE {1e3 * errors['MAE_energy']:.3f} meV/atom"]  # fmt: skip
    if "RMSE_force" in errors:
        lines.append(
            f"forces  RMSE {errors['RMSE_force']:.4f}, MAE {errors['MAE_force']:.4f} eV/Angstrom"
        )
    sys.stdout.write("\n".join([*lines, f"picture in {picture}", f"everything in {folder}"]) + "\n")


def _mean(
    members: Sequence[AbstractMLIP], structures: Sequence[Structure], forces: bool
) -> tuple[PredictOut, np.ndarray]:
    """Predictions, averaged over the members, and the standard deviation of energies."""
    outs = [member.predict(structures, forces) for member in members]
    energies = np.array([out.total_energy for out in outs])
    found = dataclasses.replace(outs[0], total_energy=energies.mean(axis=0))
    if forces:
        several: list[Any] = [out.forces for out in outs]
        found.forces = [np.mean(each, axis=0) for each in zip(*several, strict=True)]
        found.stress = np.mean([np.asarray(out.stress) for out in outs], axis=0)
    return found, energies.std(axis=0)


def _predict(given: MLIPRun, dry_run: bool) -> None:
    folder, wanted = Path(given.folder), given.predict
    _, members = _trained(folder)
    if not wanted.files:
        raise ValueError("predict.files: which files? Give predict.files='[new/*.cif]', say.")
    structures = read_structures(wanted.files)
    if dry_run:
        sys.stdout.write(f"predict: {len(structures)} structures. Nothing was written.\n")
        return
    found, spread = _mean(members, structures, wanted.forces)
    table = found.to_dataframe()
    if len(members) > 1:
        table["energy_std"] = spread
    output, path = (_inside(folder, name) for name in (wanted.output, wanted.table))
    table.to_csv(path, index=False)
    listed = []
    for n, s in enumerate(structures):
        forces = None if found.forces is None else found.forces[n]
        stress = None if found.stress is None else found.stress[n]
        has_stress = stress is not None and bool(np.all(np.isfinite(stress)))
        bare = Structure(s.positions, s.species, float(found.total_energy[n]), forces, s.cell,
                         s.pbc, stress if has_stress else None)  # fmt: skip
        atoms = bare.to_ase()
        atoms.info["name"] = found.names[n]
        if len(members) > 1:
            atoms.info["energy_std"] = float(spread[n])
        listed.append(atoms)
    ase.io.write(output, listed)
    sys.stdout.write(f"{len(structures)} structures; {output}, {path}\n")


def _export(given: MLIPRun, dry_run: bool) -> None:
    folder = Path(given.folder)
    potential, members = _trained(folder)
    if not isinstance(members[0], ANNPotential):
        raise ValueError(
            f"export.format: aenet has no potentials such as {type(members[0]).__name__}; only "
            "networks of Chebyshev features can be exported."
        )
    if dry_run:
        sys.stdout.write(f"export: {potential!r}. Nothing was written.\n")
        return
    output = _inside(folder, given.export.output)
    files = potential.to_aenet_ascii(output, given.export.prefix)
    several = files if isinstance(files, list) else [files]
    written = [str(path) for by_species in several for path in by_species.values()]
    sys.stdout.write("\n".join(written) + "\n")


def _inside(folder: Path, name: str) -> Path:
    """A path as it is given, or in the folder if it is only a name."""
    path = folder / name if len(Path(name).parts) == 1 else Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _summarise(folder: Path, key: str, found: Any) -> None:
    """Put results into the summary."""
    summarise(folder, key, found)
