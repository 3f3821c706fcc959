"""`ritz mlip explore`: dynamics that finds structures of which a committee is not sure."""

import logging
from pathlib import Path

import ase.io
from ase import Atoms

from ritz.checkpoint import Checkpoint
from ritz.checks import check_count, check_positive
from ritz.cli.command_run import CommandRun, in_folder, say_dry
from ritz.cli.domain import Invocation
from ritz.cli.messages import under
from ritz.cli.mlip.config import Explore, MLIPRun
from ritz.cli.mlip.data import read
from ritz.cli.mlip.train import PARTS
from ritz.cli.output_files import check_output, placed
from ritz.cli.settings.yaml_text import load_yaml
from ritz.exploration import Exploration
from ritz.exploration import explore as run_exploration
from ritz.exploration.explore import heating, loaded_committee
from ritz.folders.config import CONFIG
from ritz.loggers import CSVLog
from ritz.mlip import CommitteePotential, Structure
from ritz.relax import SpreadLimit
from ritz.relax.arguments import potential_of
from ritz.relax.checks import checked
from ritz.wording import counted

_logger = logging.getLogger("ritz")


def explore(call: Invocation) -> None:
    """Find structures that the committee of a run folder does not know, or go on with that.

    Raises:
        ValueError: If a setting is wrong, there is no committee, or files cannot be read.
        FolderInUseError: If another run goes on in the folder.
    """
    with in_folder(call) as running:
        _explore(call, running)


def _explore(call: Invocation, running: CommandRun) -> None:
    given: MLIPRun = call.config
    settings: Explore = given.explore
    limit = _limit(settings)
    committee = _committee(running.folder)
    if not settings.files:
        raise ValueError(
            "explore.files: from which structures? Give explore.files='[start.extxyz]', say."
        )
    begin = [s.to_ase() for s in read("explore.files", given, settings.files, bare=True)]
    with under("explore.files: "):
        checked(begin, potential_of(committee))
    train = given.data.train
    known: list[Structure] = read("data.train", given, train, bare=True) if train else []
    check_output("explore.output", settings.output, settings.number)
    if call.dry_run:
        n = len(begin) * settings.copies
        say_dry(call, counted(n, "trajectory"), "everything can be built")
        return
    if call.anew and running.resumed:
        running.set_aside([settings.output] if len(Path(settings.output).parts) == 1 else [])
    if committee.calibration is None:
        _logger.warning(
            "The committee in %s has no calibration, so that the spread of its members itself is "
            "compared with the limits; errors may be many times larger. ritz mlip train calibrates "
            "committees where structures are held out.",
            running.folder,
        )
    callbacks = PARTS.made_list("explore.callbacks", settings.callbacks)
    saving = Checkpoint(
        running.checkpoints.absolute(),
        every_seconds=settings.save_time_interval,
        configuration={"stage": call.stage, "run": load_yaml(call.text)},
    )
    more = {} if settings.max_atoms is None else {"max_atoms": settings.max_atoms}
    with running.recorded(lambda: running.summarise({})):
        found = run_exploration(
            begin,
            committee,
            limit,
            settings.number,
            temperatures=settings.temperatures,
            steps=settings.steps,
            dt=settings.dt,
            friction=settings.friction,
            copies=settings.copies,
            method=settings.method,
            known=known,
            seed=settings.seed,
            callback=[*callbacks, *running.callbacks(), saving],
            out=CSVLog(running.folder / call.stage, without=["structures"]),
            show_progress=call.progress,
            resume=True,
            **more,
        )
    _report(given, running, found)


def _limit(settings: Explore) -> SpreadLimit:
    """The limits, after all numbers are checked.

    Raises:
        ValueError: If a setting is wrong.
    """
    with under("explore."):
        for name in ("number", "copies", "steps"):
            check_count(name, getattr(settings, name), 1)
        for name in ("dt", "friction"):
            check_positive(name, getattr(settings, name))
        heating(settings.temperatures, settings.steps, settings.dt, settings.friction)
        for name in ("force_limit", "energy_limit"):
            value = getattr(settings, name)
            if value is not None:
                check_positive(name, value)
        if settings.force_limit is None and settings.energy_limit is None:
            raise ValueError("force_limit and energy_limit are both null; give one of them.")
        if settings.enough is not None:
            check_count("enough", settings.enough, 1)
    return SpreadLimit(settings.force_limit, settings.energy_limit, settings.enough)


def _committee(folder: Path) -> CommitteePotential:
    """The committee of a run folder.

    Raises:
        ValueError: If there is none.
    """
    with under("folder: "):
        return loaded_committee(folder)


def _bare(atoms: Atoms) -> Atoms:
    """Without energy, forces and momenta: labels in the file would be those of the committee."""
    bare = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info |= atoms.info
    return bare


def _report(given: MLIPRun, running: CommandRun, found: Exploration) -> None:
    """Write the structures and the summary, and say what is to be done next."""
    output = placed(running.folder, given.explore.output)
    result = {
        "trajectories": found.n_trajectories,
        "found": len(found.candidates),
        "selected": len(found.selected),
        "failed": len(found.reasons),
    }
    result = running.summarise(result)
    way = ""
    if not running.steps.begun:
        way = "the run has ended, and nothing was left to do; --anew sets it aside and begins anew."
    elif running.resumed:
        way = f"the run went on from step {running.steps.first} to step {result['steps']}."
    if not found.selected:
        advice = "give a lower limit, higher explore.temperatures, or more explore.steps"
        if found.candidates:
            advice = "all that passed are structures that are known; give a larger limit"
        running.say(way, f"{found}.", f"There is nothing to compute: {advice}.")
        return
    if running.is_first_process:
        ase.io.write(output, [_bare(atoms) for atoms in found.selected], format=_format(output))
    files = ", ".join([*given.data.train, "LABELLED.extxyz"])
    running.say(
        way,
        f"{found}; {output}",
        f"Compute their energies and forces; then train on, in another folder: ritz mlip train "
        f"--config {running.folder / CONFIG} folder=NEXT begin_from={running.folder} "
        f"data.train='[{files}]'",
    )


def _format(path: Path) -> str | None:
    return "extxyz" if path.suffix in (".xyz", ".extxyz") else None
