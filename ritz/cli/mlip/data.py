"""Structures that `ritz mlip` reads, and how they are divided."""

import logging
import re
from collections.abc import Mapping, Sequence

from ritz.cli.messages import under
from ritz.cli.mlip.config import MLIPRun
from ritz.mlip import ReferenceEnergies, Structure, TrainingConfig
from ritz.mlip.data.datasets import keep_within_limits, split_indices
from ritz.mlip.data.labelling import LABEL_SETTINGS, LabelCheck, Labelling
from ritz.mlip.data.reading import expand_paths, read_files
from ritz.mlip.data.reference_energies import (
    check_species,
    is_isolated,
    isolated_atom_energies,
)
from ritz.wording import counted

_logger = logging.getLogger("ritz")

KEY = "data.{label}_key"
"""The settings under which the keys of labels are given."""

Energies = Mapping[str, float] | None
"""Of atoms, by species, in eV."""


def read(key: str, given: MLIPRun, files: Sequence[str], bare: bool = False) -> list[Structure]:
    """The structures of files.

    Args:
        key: The setting that names them, for messages.
        given: The configuration, with keys and units.
        files: Files, patterns, folders or archives.
        bare: Whether labels do not matter; then no frame is skipped.

    Raises:
        ValueError: If they cannot be read; setting and file are named.
    """
    if bare:
        labelling = Labelling(bare=True)
    else:
        with under("data.", (ValueError, TypeError)):
            labelling = Labelling(**{name: getattr(given.data, name) for name in LABEL_SETTINGS})
    try:
        found = list(read_files(expand_paths(files), labelling, keep_unconverged=bare))
    except (ValueError, OSError) as error:
        missing = re.search(r"has no (\w+) under the key", str(error))
        setting = KEY.format(label=missing[1]) if missing else key
        raise ValueError(f"{setting}: {error}") from error
    if not found:
        raise ValueError(f"{key}: there are no structures in {', '.join(map(str, files))}.")
    return found


def splits(
    given: MLIPRun, energies: Energies = None
) -> tuple[list[Structure], list[Structure], dict[str, float] | None]:
    """Structures to train on, those to validate with, and the energies of atoms.

    What is above `train.max_energy` or `train.max_forces` is left out before the rest is divided,
    as `ANNPotential.train` does it.

    Args:
        given: The configuration.
        energies: Those of a trained potential; None for what `data.atomic_energies` says.

    Raises:
        ValueError: If files cannot be read, or nothing is left.
    """
    if not given.data.train:
        raise ValueError(
            "data.train: which files? Give data.train='[data/*.xsf]', for example; or the folder "
            f"of a run to go on with: {given.folder} holds none."
        )
    train, isolated = _aside(read("data.train", given, given.data.train))
    if not train:
        raise ValueError("data.train: there are no structures but isolated atoms.")
    limits = given.train.max_energy, given.train.max_forces
    if energies is not None:
        known: Energies = energies
    else:
        known = _given_energies(given, train, isolated)
    if known is None and limits[0] is not None:
        known = _fitted(train)
    train = _within(train, known, *limits)
    if given.data.test:
        test, _ = _aside(read("data.test", given, given.data.test))
        test = _within(test, known, *limits) if test else []
    else:
        seed = given.train.seed or 0
        split_seed = seed if given.train.split_seed is None else given.train.split_seed
        own, held_out = split_indices(len(train), given.train.testpercent, split_seed)
        train, test = [train[i] for i in own], [train[i] for i in held_out]
    if known is None:
        known = _fitted(train)
    return train, test, None if known is None else dict(known)


def check_labels(config: TrainingConfig, structures: Sequence[Structure]) -> None:
    """Refuse structures without what is trained on; settings of the command line are named.

    Raises:
        ValueError: If an energy is missing, or there are no forces or no stress at all.
    """
    check = LabelCheck(config.uses_forces, config.uses_stress, KEY, "train.")
    for structure in structures:
        check.add(structure)
    check.finish()


def without_isolated(structures: Sequence[Structure]) -> list[Structure]:
    """Without isolated atoms; that some are left out is told."""
    left, isolated = _aside(structures)
    if isolated:
        _logger.info("%s skipped.", counted(len(isolated), "isolated atom", "is"))
    return left


def _aside(structures: Sequence[Structure]) -> tuple[list[Structure], list[Structure]]:
    """Structures, and the isolated atoms among them."""
    return (
        [s for s in structures if not is_isolated(s)],
        [s for s in structures if is_isolated(s)],
    )


def _within(
    structures: Sequence[Structure], energies: Energies, *limits: float | None
) -> list[Structure]:
    with under("train.max_energy, train.max_forces: "):
        return keep_within_limits(structures, energies or {}, *limits)


def _given_energies(
    given: MLIPRun, train: Sequence[Structure], isolated: Sequence[Structure]
) -> Energies:
    """Energies of atoms as given, or from isolated atoms; None where they are to be fitted."""
    wanted = given.data.atomic_energies
    if wanted is None or not isinstance(wanted, str):
        if isolated:
            _logger.info(
                "%s skipped: data.atomic_energies.", counted(len(isolated), "isolated atom", "is")
            )
        with under("data."):
            species = {symbol for s in train for symbol in s.species}
            check_species(wanted or {}, species, species)
        return wanted or {}
    if wanted != "regression":
        raise ValueError(
            f"data.atomic_energies: {wanted!r} was given; it is 'regression', null, or energies by "
            "species."
        )
    with under("data.train: "):
        found = isolated_atom_energies(isolated)
    missing = sorted({symbol for s in train for symbol in s.species} - set(found))
    if isolated and not missing:
        _tell("isolated ones", found)
        return found
    if isolated:
        _logger.warning(
            "%s skipped, since there is none of %s; energies of atoms are from a regression.",
            counted(len(isolated), "isolated atom", "is"),
            ", ".join(missing),
        )
    return None


def _fitted(train: Sequence[Structure]) -> dict[str, float]:
    check = LabelCheck(False, False, KEY)
    for structure in train:
        check.add(structure)
    try:
        found = ReferenceEnergies.from_regression(train)
    except ValueError as error:
        _logger.info("Energies of atoms are left at 0: %s", error)
        return {}
    _tell("a regression", found.atomic_energies)
    return dict(found.atomic_energies)


def _tell(source: str, energies: Mapping[str, float]) -> None:
    told = ", ".join(f"{symbol} {energy:.6f}" for symbol, energy in energies.items())
    _logger.info("Energies of atoms from %s, in eV: %s", source, told)
