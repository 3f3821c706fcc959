"""The domains of the command line.

A new one of Ritz is a module with `DOMAIN`, and an entry here; those of others are plug-ins.
"""

import dataclasses
import importlib
from pathlib import Path

from ritz.cli.domain import Domain
from ritz.extras import needs
from ritz.folders.config import domain_of
from ritz.folders.view import ANY_RUN, TEMPERATURE, V_SCORE, Quantity, RunView
from ritz.plugins import chosen, plugins


@dataclasses.dataclass(frozen=True)
class Entry:
    """A domain, before it is imported.

    Args:
        text: What it is for, in a sentence.
        module: The module with its `DOMAIN`.
        view: What `ritz status` and `ritz plot` show of its runs.
        extra: The extra of Ritz that it needs; by default that of the package that is missing.
    """

    text: str
    module: str
    view: RunView
    extra: str | None = None


_ENERGY = Quantity("Energy", "energy")
_ELECTRONS = (Quantity("energy", unit="hartree"), Quantity("acceptance"))
_VARIANCE = Quantity("energy", "variance", "hartree²", logarithmic=True, field="Variance")
_FMAX = Quantity("fmax", "largest force", "eV/Angstrom", logarithmic=True)
_COUNTS = ("running", "waiting", "converged", "unconverged", "failed")

DOMAINS = {
    "lattice": Entry(
        "Train and evaluate wave functions on lattices, from a configuration.",
        "ritz.cli.lattice.domain",
        RunView(numbers=(_ENERGY, V_SCORE), curves=(_ENERGY, V_SCORE)),
    ),
    "molecule": Entry(
        "Train and evaluate wave functions of electrons in molecules.",
        "ritz.cli.molecule.domain",
        RunView(
            reference="reference",
            numbers=_ELECTRONS,
            curves=(_ELECTRONS[0], _VARIANCE, _ELECTRONS[1]),
            logs=("train", "pretrain"),
        ),
        extra="molecule",
    ),
    "mlip": Entry(
        "Train, evaluate and use machine-learning interatomic potentials.",
        "ritz.cli.mlip.domain",
        RunView(
            numbers=(
                Quantity("RMSE_train", "E RMSE, train", "meV/atom", 1e3),
                Quantity("RMSE_test", "E RMSE, test", "meV/atom", 1e3),
                Quantity("RMSE_force_train", "F RMSE, train", "eV/Angstrom"),
                Quantity("RMSE_force_test", "F RMSE, test", "eV/Angstrom"),
            ),
            curves=(
                Quantity("loss", logarithmic=True),
                Quantity("RMSE_test", "energy RMSE, test", "meV/atom", 1e3, logarithmic=True),
                Quantity("RMSE_force_test", "force RMSE, test", "eV/Angstrom", logarithmic=True),
            ),
        ),
        extra="mlip",
    ),
    "relax": Entry(
        "Relax structures from files, all at once.",
        "ritz.cli.relax.domain",
        RunView(
            numbers=(_FMAX, *map(Quantity, _COUNTS)),
            curves=(_FMAX, Quantity("running", "running structures"), TEMPERATURE),
            logs=("relax",),
            has_target=False,
        ),
    ),
}
"""Those of Ritz, by the name of the command."""


def texts() -> dict[str, str]:
    """What each domain is for, by the name of its command; plug-ins are not imported for it."""
    own = {name: entry.text for name, entry in DOMAINS.items()}
    others = {
        plugin.name: f"A domain of the package {plugin.package} {plugin.version}."
        for plugin in plugins("domains")
    }
    return {**own, **{name: text for name, text in others.items() if name not in own}}


def load(name: str) -> Domain:
    """A domain; what it needs is imported.

    Raises:
        MissingExtra: If a package is missing.
        ValueError: If it is that of a plug-in which cannot be loaded, or is no domain.
    """
    if name not in DOMAINS:
        return _offered(name)
    entry = DOMAINS[name]
    with needs(f"ritz {name}", entry.extra):
        domain: Domain = importlib.import_module(entry.module).DOMAIN
    return dataclasses.replace(domain, name=name, view=entry.view)


def _offered(name: str) -> Domain:
    """The domain that a plug-in offers."""
    plugin = chosen(plugins("domains"), name)
    try:
        domain = plugin.load()
    except ImportError as error:
        raise ValueError(str(error)) from error
    if not isinstance(domain, Domain):
        raise ValueError(
            f"the plug-in {name} of {plugin.package} {plugin.version} is offered as a domain, but "
            f"{plugin.path} is {domain!r}, and no ritz.cli.domain.Domain."
        )
    return dataclasses.replace(domain, name=name)


def view_of(folder: str | Path) -> RunView:
    """How `ritz status` and `ritz plot` show the run in a folder, as its domain says.

    The domain of a plug-in that is gone, or fails, shows what any run has.
    """
    name = domain_of(folder) or ""
    entry = DOMAINS.get(name)
    if entry is not None:
        return entry.view
    try:
        return load(name).view
    except ValueError:
        return ANY_RUN
