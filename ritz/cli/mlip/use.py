"""`ritz mlip evaluate`, `predict` and `export`: what is done with a trained potential."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from ritz.cli.command_run import CommandRun, say, say_dry
from ritz.cli.domain import Invocation
from ritz.cli.mlip.config import MLIPRun
from ritz.cli.mlip.data import DIVIDING, KEY, divided, read, without_isolated
from ritz.cli.mlip.train import COMMITTEE, MODEL
from ritz.cli.output_files import check_output, placed
from ritz.cli.processes import is_first
from ritz.cli.run_folder import RunFolder
from ritz.mlip import (
    AbstractMLIP,
    ANNPotential,
    CommitteePotential,
    PredictOut,
    Structure,
    load_potential,
)
from ritz.mlip.data.labelling import no_energy
from ritz.mlip.potentials.predicting import predict_together
from ritz.mlip.potentials.predictions import errors_of, plot_parity, save_parity
from ritz.plotting.parity import FILE as PARITY
from ritz.wording import counted


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


def evaluate(call: Invocation) -> None:
    """Compare a trained potential with structures that have labels.

    Raises:
        ValueError: If there is no potential, or nothing to compare it with.
    """
    given: MLIPRun = call.config
    folder = Path(given.folder)
    _, members = _trained(folder)
    if given.evaluate.files:
        files = given.evaluate.files
        structures = without_isolated(read("evaluate.files", given, files))
    else:
        structures = _held_out(call)
    if not structures:
        raise ValueError("evaluate.files: nothing was held out; say which files.")
    if call.dry_run:
        say_dry(call, counted(len(structures), "structure"))
        return
    if all(s.energy is None for s in structures):
        raise ValueError(f"evaluate.files: {no_energy(structures[0], 0, KEY)}")
    found, _ = _mean(members, structures, True)
    errors = errors_of(found)
    table = found.to_dataframe()
    running, picture = CommandRun(call), folder / "parity.png"
    if running.is_first_process:
        table.to_csv(folder / "evaluate.csv", index=False)
        plot_parity(found, picture)
        save_parity(found, folder / PARITY)
    running.summarise(errors)
    lines = [
        counted(len(structures), "structure"),
        f"energy  RMSE {1e3 * errors['RMSE_energy']:.3f}, "
        f"MAE {1e3 * errors['MAE_energy']:.3f} meV/atom",
    ]
    if "RMSE_force" in errors:
        lines.append(
            f"forces  RMSE {errors['RMSE_force']:.4f}, MAE {errors['MAE_force']:.4f} eV/Angstrom"
        )
    running.say(*lines, f"picture in {picture}")


_DIVIDING = ("data.", *(f"train.{name} " for name in DIVIDING))
"""How differences begin on which it depends what was held out."""


def _held_out(call: Invocation) -> list[Structure]:
    """The validation split of the training in the run folder.

    Raises:
        ValueError: If the configuration does not say what was trained on, or says another thing
            than that of the training did.
    """
    given: MLIPRun = call.config
    if given.data.train:
        changes = CommandRun(call).changes("train") or []
        if changed := [line for line in changes if line.startswith(_DIVIDING)]:
            raise ValueError(
                f"evaluate.files: what {given.folder} has held out is not known with other "
                f"settings: {'; '.join(changed)}. Leave them out, or give evaluate.files."
            )
        return divided(given).test
    told = "evaluate.files: which files? Give evaluate.files='[test.extxyz]', for example"
    folder = given.folder
    if RunFolder(folder).config is None:
        raise ValueError(f"{told}: {folder} has no configuration that says what was held out.")
    raise ValueError(f"{told}; or leave out --config: that of {folder} says what was held out.")


def _mean(
    members: Sequence[AbstractMLIP], structures: Sequence[Structure], forces: bool
) -> tuple[PredictOut, np.ndarray]:
    """Predictions, averaged over the members, and the standard deviation of energies."""
    outs = [predict_together(member, structures, forces) for member in members]
    energies = np.array([out.total_energy for out in outs])
    found = dataclasses.replace(outs[0], total_energy=energies.mean(axis=0))
    if forces:
        several: list[Any] = [out.forces for out in outs]
        found.forces = [np.mean(each, axis=0) for each in zip(*several, strict=True)]
        found.stress = np.mean([np.asarray(out.stress) for out in outs], axis=0)
    return found, energies.std(axis=0)


def predict(call: Invocation) -> None:
    """Predict energies and forces of structures from files.

    Raises:
        ValueError: If there is no potential, or files cannot be read or written.
    """
    given: MLIPRun = call.config
    folder, settings = Path(given.folder), given.predict
    _, members = _trained(folder)
    if not settings.files:
        raise ValueError("predict.files: which files? Give predict.files='[new/*.cif]', say.")
    structures = read("predict.files", given, settings.files, bare=True)
    check_output("predict.output", settings.output, len(structures))
    if call.dry_run:
        say_dry(call, counted(len(structures), "structure"))
        return
    found, spread = _mean(members, structures, settings.forces)
    table = found.to_dataframe()
    if len(members) > 1:
        table["energy_std"] = spread
    output, path = (placed(folder, name) for name in (settings.output, settings.table))
    listed = []
    for n, s in enumerate(structures):
        forces = None if found.forces is None else found.forces[n]
        stress = None if found.stress is None else found.stress[n]
        has_stress = stress is not None and bool(np.all(np.isfinite(stress)))
        bare = Structure(
            s.positions,
            s.species,
            energy=float(found.total_energy[n]),
            forces=forces,
            cell=s.cell,
            pbc=s.pbc,
            stress=stress if has_stress else None,
        )
        atoms = bare.to_ase()
        atoms.info["name"] = found.names[n]
        if len(members) > 1:
            atoms.info["energy_std"] = float(spread[n])
        listed.append(atoms)
    if is_first():
        table.to_csv(path, index=False)
        ase.io.write(output, listed)
    say(f"{counted(len(structures), 'structure')}; {output}, {path}")


def export(call: Invocation) -> None:
    """Write a trained potential in another format.

    Raises:
        ValueError: If there is none, or the format has no potentials of its kind.
    """
    given: MLIPRun = call.config
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
    if call.dry_run:
        say_dry(call, repr(potential))
        return
    output = placed(folder, given.export.output)
    files = potential.to_aenet_ascii(output, given.export.prefix)
    several = files if isinstance(files, list) else [files]
    written = [str(path) for by_species in several for path in by_species.values()]
    say(*written)
