"""`ritz mlip fit`: a potential that is linear in its features, in closed form."""

import dataclasses

from ritz.cli.command_run import CommandRun, in_folder, say_dry
from ritz.cli.domain import Invocation
from ritz.cli.messages import under
from ritz.cli.mlip.config import MLIPRun
from ritz.cli.mlip.data import species_of, splits
from ritz.cli.mlip.train import COMMITTEE, MODEL, PARTS
from ritz.cli.run_folder import RunFolder
from ritz.mlip import ANNPotential, FitConfig, StructureDataset
from ritz.mlip.descriptors.pairs import kinds_of
from ritz.wording import counted


def fit(call: Invocation) -> None:
    """Fit a potential to structures from files.

    Raises:
        ValueError: If the configuration is wrong, or files cannot be read.
        FolderInUseError: If another run goes on in the folder.
    """
    with in_folder(call) as running:
        _fit(call, running)


def _fit(call: Invocation, running: CommandRun) -> None:
    given: MLIPRun = call.config
    for there in (running.folder / "checkpoints" / "train", running.folder / COMMITTEE):
        if there.exists():
            raise ValueError(
                f"folder: {running.folder} has what `ritz mlip train` has made; give another one."
            )
    train, test, energies = splits(given)
    species = sorted(species_of(train))
    potential = PARTS.made(
        "potential", given.potential, species=species, structures=train, hidden=()
    )
    if not isinstance(potential, ANNPotential):
        name = given.potential.class_path
        raise ValueError(
            f"potential: {name} is not linear in features, so that there is no "
            "closed form; give ace, chebyshev or symmetry_functions, or train it."
        )
    with under("fit.", (ValueError, TypeError)):
        config = FitConfig(
            **dataclasses.asdict(given.fit), seed=given.train.seed, atomic_energies=energies
        )
    for place, structure in enumerate(test):
        kinds_of(structure, potential.species, place)
    if call.dry_run:
        say_dry(
            call,
            repr(potential),
            f"{counted(len(train), 'structure')} of {', '.join(species)}",
            f"{len(test)} held out; everything can be built",
        )
        return
    found = potential.fit(
        train_dataset=StructureDataset(train, potential.descriptor, energies),
        test_dataset=StructureDataset(test, potential.descriptor, energies) if test else None,
        config=config,
    )
    if running.is_first_process:
        RunFolder(running.folder).keep(call.text, call.domain, expected=False)
        potential.save(running.folder / MODEL)
        found.errors.to_csv(running.folder / "errors.csv")
    running.summarise(found.stats)
    running.say(str(found), f"potential in {running.folder / MODEL}")
