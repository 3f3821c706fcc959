"""The domains that are run from a configuration."""

from ritz.cli.domain import Domain
from ritz.extras import needs

TEXTS = {
    "lattice": "Train and evaluate wave functions on lattices, from a configuration.",
    "mlip": "Train, evaluate and use machine-learning interatomic potentials.",
}
"""What they are for, by name."""


def load(name: str) -> Domain:
    """A domain; what it needs is imported.

    Raises:
        MissingExtra: If a package is missing.
    """
    if name == "lattice":
        from ritz.cli import lattice
        from ritz.cli.lattice_config import LatticeRun

        return Domain(
            name, TEXTS[name],
            {
                "train": "Optimise a wave function on a lattice, or go on with it.",
                "evaluate": "Estimate the energy and observables of a trained wave function.",
            },
            LatticeRun, lattice.run, frozenset({"evaluate"}), shares_samples=True,
        )  # fmt: skip
    with needs("ritz mlip", "mlip"):
        from ritz.cli import mlip
        from ritz.cli.mlip_config import MLIPRun

    return Domain(
        name, TEXTS[name],
        {
            "train": "Train a potential on structures from files, or go on with it.",
            "evaluate": "Compare a trained potential with structures that have labels.",
            "predict": "Predict energies and forces of structures from files.",
            "export": "Write a trained potential in another format.",
        },
        MLIPRun, mlip.run, frozenset({"evaluate", "predict", "export"}),
    )  # fmt: skip
