"""Train, evaluate and use machine-learning interatomic potentials."""

import argparse
import contextlib
import dataclasses
import logging
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from ritz.checkpoint import CheckpointError
from ritz.checkpoint.folder import CheckpointFolder
from ritz.cli.mlip_config import CONTRACTS, SHORT_NAMES, MLIPRun
from ritz.cli.mlip_data import KEY, check_labels, read, splits, without_isolated
from ritz.cli.output_format import check_output
from ritz.cli.results import facts, longer, summarise
from ritz.cli.run_folder import KeepConfig
from ritz.driver.arguments import check_count
from ritz.driver.stop import StopReason
from ritz.folders.lock import FolderLock
from ritz.loggers import CSVLog, JsonLog
from ritz.mlip import (
    AbstractMLIP,
    ANNPotential,
    CommitteeConfig,
    CommitteePotential,
    PredictOut,
    Structure,
    StructureDataset,
    TrainingConfig,
    TrainOut,
    load_potential,
)
from ritz.mlip.arguments import find_device
from ritz.mlip.committee.results import METADATA
from ritz.mlip.data.labelling import no_energy
from ritz.mlip.potentials.files import NotFiniteError
from ritz.mlip.potentials.predictions import errors_of, plot_parity
from ritz.mlip.training.start import Resume, batches_of
from ritz.stages.parts import make
from ritz.wording import counted

_logger = logging.getLogger("ritz")

MODEL = "potential.npz"
COMMITTEE = "committee"
COMMITTEE_FILE = f"{COMMITTEE}/{METADATA}"


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
    train, test, energies = splits(given)
    species = sorted({symbol for s in train for symbol in s.species})
    potential = make(
        "potential", given.potential.as_dict(), {"species": species}, SHORT_NAMES["potential"],
        CONTRACTS["potential"],
    )  # fmt: skip
    config = _config(given, energies, folder, options.progress)
    check_labels(config, train)
    datasets: dict[str, Any] = {
        "train_dataset": StructureDataset(train, potential.descriptor, energies or {}),
        "test_dataset": None,
    }
    if test:
        datasets["test_dataset"] = StructureDataset(test, potential.descriptor, energies or {})
    if options.dry_run:
        sys.stdout.write(
            f"train: {potential!r}, {counted(len(train), 'structure')} of {', '.join(species)}, "
            f"{len(test)} held out, {counted(config.iterations, 'epoch')}; everything can be "
            "built. Nothing was written.\n"
        )
        return
    try:
        find_device(config.device)
    except ValueError as error:
        raise ValueError(f"train.device: {error}") from error
    saved = _saved(folder)
    n_batches = batches_of(len(train), config.batch_size)
    if saved is not None and _is_done(given, config, saved, n_batches):
        most = Resume(saved).asked_for // n_batches
        advice = longer("train.iterations", config.iterations, most, "epochs")
        sys.stdout.write(f"all epochs are done; everything in {folder}. {advice}\n")
        return
    callbacks = [make(f"train.callbacks.{i}", part.as_dict(), {}, SHORT_NAMES["callbacks"],
                      CONTRACTS["callbacks"])
                 for i, part in enumerate(given.train.callbacks)]  # fmt: skip
    settings = {
        **datasets, "config": config, "resume_from": saved, "in_total": True,
        "callback": [*callbacks, KeepConfig(folder, text)],
        "out": [JsonLog(folder / "train", save_params=False), CSVLog(folder / "train")],
    }  # fmt: skip
    try:
        found, outs = _trained_with(potential, given, config, settings)
    except SystemExit:  # nothing that looks like a result
        unknown = {"RMSE_train": math.nan}
        _summarise(folder, "train", {**unknown, **facts(folder / "checkpoints" / "train")})
        raise
    outs[0].errors.to_csv(folder / "errors.csv")
    outs[0].plot_training_summary(folder / "errors.png")
    _summarise(folder, "train", {**found.stats, **facts(folder / "checkpoints" / "train")})
    sys.stdout.write(f"{found}\npicture in {folder / 'errors.png'}\neverything in {folder}\n")


def _trained_with(
    potential: AbstractMLIP, given: MLIPRun, config: TrainingConfig, settings: dict[str, Any]
) -> tuple[Any, list[TrainOut]]:
    """Train a potential or a committee of it, and write it."""
    folder = Path(given.folder)
    try:
        if given.members > 1:
            committee = CommitteePotential.of(potential)
            members = CommitteeConfig(
                given.members, base_seed=config.run_seed, output_dir=folder / COMMITTEE
            )
            result = committee.train(committee_config=members, **settings)
            _check_end(result.trainouts[0])
            return result, result.trainouts
        found = potential.train(**settings)
        _check_end(found)
    except CheckpointError as error:
        raise ValueError(_by_setting(str(error))) from error
    except NotFiniteError as error:
        raise SystemExit(str(error)) from error
    try:
        potential.save(folder / MODEL)
    except NotFiniteError as error:
        raise SystemExit(str(error)) from error
    return found, [found]


def _check_end(out: TrainOut) -> None:
    """End a run that has diverged with the status 1, before anything of it is written."""
    if out.stop_reason == StopReason.DIVERGED.name:
        raise SystemExit(f"training diverged, and no potential is written: {out.stop_message}")


def _by_setting(message: str) -> str:
    """What a message advises, as a setting of the command line."""

    def setting(found: re.Match[str]) -> str:
        return f"give train.accept_changes='[{found[1].replace(chr(39), '')}]'."

    return re.sub(r"give accept_changes=\[(.*?)\] in the configuration\.", setting, message)


def _config(given: MLIPRun, energies: Any, folder: Path, progress: bool) -> TrainingConfig:
    own = {f.name: getattr(given.train, f.name) for f in dataclasses.fields(given.train)}
    del own["callbacks"]
    own["method"] = make(
        "train.method", own["method"].as_dict(), {}, SHORT_NAMES["method"], CONTRACTS["method"]
    )
    try:
        return TrainingConfig(
            **own, atomic_energies=energies, show_progress=progress,
            checkpoint_dir=str(folder / "checkpoints" / "train"),
        )  # fmt: skip
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"train.{error}") from error


def _saved(folder: Path) -> Path | None:
    """The checkpoints of a run that goes on."""
    saved = folder / "checkpoints" / "train"
    return saved if CheckpointFolder(saved.absolute()).entries() else None


def _is_done(given: MLIPRun, config: TrainingConfig, saved: Path, n_batches: int) -> bool:
    """Whether all epochs were trained, and the result was written."""
    result = COMMITTEE_FILE if given.members > 1 else MODEL
    is_trained = Resume(saved, in_total=True).has_completed(config.iterations, n_batches)
    return is_trained and (Path(given.folder) / result).is_file()


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
        files = given.evaluate.files
        structures = without_isolated(read("evaluate.files", given, files))
    else:
        structures = splits(given, members[0].atomic_energies)[1]
    if not structures:
        raise ValueError("evaluate.files: nothing was held out; say which files.")
    if dry_run:
        sys.stdout.write(
            f"evaluate: {counted(len(structures), 'structure')}. Nothing was written.\n"
        )
        return
    if all(s.energy is None for s in structures):
        raise ValueError(f"evaluate.files: {no_energy(structures[0], 0, KEY)}")
    found, _ = _mean(members, structures, True)
    errors = errors_of(found)
    table = found.to_dataframe()
    table.to_csv(folder / "evaluate.csv", index=False)
    picture = plot_parity(found, folder / "parity.png")
    _summarise(folder, "evaluate", errors)
    lines = [counted(len(structures), "structure"),
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
    structures = read("predict.files", given, wanted.files, bare=True)
    check_output("predict.output", wanted.output, len(structures))
    if dry_run:
        sys.stdout.write(
            f"predict: {counted(len(structures), 'structure')}. Nothing was written.\n"
        )
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
    sys.stdout.write(f"{counted(len(structures), 'structure')}; {output}, {path}\n")


def _export(given: MLIPRun, dry_run: bool) -> None:
    folder = Path(given.folder)
    potential, members = _trained(folder)
    if not isinstance(members[0], ANNPotential):
        raise ValueError(
            f"export.format: aenet has no potentials such as {type(members[0]).__name__}; only "
            "networks of Chebyshev features can be exported."
        )
    try:
        members[0].descriptor.aenet_parameters()
    except ValueError as error:
        raise ValueError(f"export.format: {error}") from error
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
