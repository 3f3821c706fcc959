"""Structures that `ritz mlip` reads, and how they are divided."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ritz.cli.messages import reason, under
from ritz.cli.mlip.config import MLIPRun
from ritz.cli.run_folder import RunFolder
from ritz.mlip import ReferenceEnergies, Structure, TrainingConfig
from ritz.mlip.data.datasets import keep_within_limits, split_indices
from ritz.mlip.data.labelling import LABEL_SETTINGS, LabelCheck, Labelling
from ritz.mlip.data.reading import expand_paths, read_files
from ritz.mlip.data.reference_energies import (
    UndeterminedError,
    check_species,
    is_isolated,
    isolated_atom_energies,
)
from ritz.wording import counted

_logger = logging.getLogger("ritz")

KEY = "data.{label}_key"
"""The settings under which the keys of labels are given."""

DIVIDING = ("testpercent", "split_seed", "seed", "max_energy", "max_forces")
"""Settings of the training by which `divided` divides structures."""

Energies = Mapping[str, float]
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
        raise ValueError(f"{setting}: {reason(error)}") from error
    if not found:
        raise ValueError(f"{key}: there are no structures in {', '.join(map(str, files))}.")
    return found


class Division(NamedTuple):
    """Structures, divided as for training."""

    train: list[Structure]
    test: list[Structure]
    isolated: list[Structure]
    """Isolated atoms among the files to train on."""
    species: set[str]
    """The species of all of them but isolated atoms, also of those that are left out."""


def divided(given: MLIPRun) -> Division:
    """Structures to train on, and those to validate with.

    What is above `train.max_energy` or `train.max_forces` is left out before the rest is divided,
    as `ANNPotential.train` does it.

    Raises:
        ValueError: If files cannot be read, or nothing is left.
    """
    wanted = given.data.atomic_energies
    if isinstance(wanted, str) and wanted != "regression":
        raise ValueError(
            f"data.atomic_energies: {wanted!r} was given; it is 'regression', null, or energies by "
            "species, such as {Ti: -1.5, O: -2.5}."
        )
    train, isolated = _aside(read("data.train", given, given.data.train))
    if not train:
        raise ValueError("data.train: there are no structures but isolated atoms.")
    species = species_of(train)
    limits = given.train.max_energy, given.train.max_forces
    known = _energies_of_limit(given, train, isolated)
    train = _within(train, known, *limits)
    if given.data.test:
        test, _ = _aside(read("data.test", given, given.data.test))
        species |= species_of(test)
        test = _within(test, known, *limits) if test else []
    else:
        seed = given.train.seed or 0
        split_seed = seed if given.train.split_seed is None else given.train.split_seed
        own, held_out = split_indices(len(train), given.train.testpercent, split_seed)
        train, test = [train[i] for i in own], [train[i] for i in held_out]
    return Division(train, test, isolated, species)


def splits(
    given: MLIPRun, known: Energies | None = None
) -> tuple[list[Structure], list[Structure], dict[str, float]]:
    """Structures to train on, those to validate with, and energies of atoms of the former.

    Args:
        given: The configuration.
        known: Energies of atoms in the place of a regression; None for no such.

    Raises:
        ValueError: If files cannot be read, nothing is left, or energies of atoms do not fit.
    """
    if not given.data.train:
        told = "data.train: which files? Give data.train='[data/*.xsf]', for example"
        folder = RunFolder(given.folder)
        if folder.config is None:
            raise ValueError(
                f"{told}; or the folder of a run to go on with: {given.folder} holds none."
            )
        raise ValueError(
            f"{told}; or leave out --config and data.train to go on with the run in {given.folder}."
        )
    found = divided(given)
    species = species_of(found.train)
    is_regression = isinstance(given.data.atomic_energies, str)
    energies = known if known is not None and is_regression else _energies(given, found)
    return found.train, found.test, {s: e for s, e in energies.items() if s in species}


def species_of(structures: Iterable[Structure]) -> set[str]:
    """The species of structures."""
    return {symbol for structure in structures for symbol in structure.species}


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
        return keep_within_limits(structures, energies, *limits)


def _energies_of_limit(
    given: MLIPRun, train: Sequence[Structure], isolated: Sequence[Structure]
) -> Energies:
    """Energies of atoms that `train.max_energy` counts from, before anything is left out."""
    wanted = given.data.atomic_energies
    if given.train.max_energy is None:
        return {}
    if not isinstance(wanted, str):
        return wanted or {}
    found = _of_isolated(isolated)
    return found if species_of(train) <= set(found) else _fitted(train, "train.max_energy: ")


def _energies(given: MLIPRun, division: Division) -> Energies:
    """Energies of atoms as given, from isolated atoms, or from a regression."""
    isolated, species = division.isolated, species_of(division.train)
    wanted = given.data.atomic_energies
    if not isinstance(wanted, str):
        if isolated:
            _logger.info(
                "%s skipped: data.atomic_energies.", counted(len(isolated), "isolated atom", "is")
            )
        with under("data."):
            check_species(wanted or {}, species, division.species)
        return wanted or {}
    found = _of_isolated(isolated)
    missing = sorted(species - set(found))
    if isolated and not missing:
        _tell("isolated ones", found)
        return found
    if isolated:
        _logger.warning(
            "%s skipped, since there is none of %s; energies of atoms are from a regression.",
            counted(len(isolated), "isolated atom", "is"),
            ", ".join(missing),
        )
    return _fitted(division.train)


def _of_isolated(isolated: Sequence[Structure]) -> dict[str, float]:
    with under("data.train: "):
        return isolated_atom_energies(isolated)


def _fitted(structures: Sequence[Structure], key: str = "") -> dict[str, float]:
    """Energies of atoms from a regression; none if the structures do not determine them.

    Args:
        structures: Structures with energies.
        key: What the energies are for, with which messages begin.
    """
    check = LabelCheck(False, False, KEY)
    for structure in structures:
        check.add(structure)
    try:
        found = ReferenceEnergies.from_regression(structures)
    except UndeterminedError as error:
        _logger.info("%sEnergies of atoms are left at 0: %s", key, _undetermined(structures, error))
        return {}
    except ValueError as error:
        _logger.info("%sEnergies of atoms are left at 0: %s", key, error)
        return {}
    _tell("a regression", found.atomic_energies, key)
    return dict(found.atomic_energies)


def _undetermined(structures: Sequence[Structure], error: UndeterminedError) -> str:
    """Whether it matters that energies of atoms are not known, and where they are given."""
    symbols = sorted(species_of(structures))
    told, matters = "too few compositions determine none.", "Errors may be larger without them, and"
    if error.rank == 1:
        told = "all structures have the same composition."
        matters = "Their errors do not depend on that, but"
    setting = ", ".join(f"{symbol}: ..." for symbol in symbols)
    return (
        f"{told} {matters} total energies of other compositions would be wrong; give "
        f"data.atomic_energies='{{{setting}}}' for these."
    )


def _tell(source: str, energies: Mapping[str, float], key: str = "") -> None:
    told = ", ".join(f"{symbol} {energy:.6f}" for symbol, energy in energies.items())
    _logger.info("%sEnergies of atoms from %s, in eV: %s", key, source, told)
