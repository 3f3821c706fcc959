"""The domains that are run from a configuration."""

from ritz.cli.domain import Domain

TEXTS = {
    "lattice": "Train and evaluate wave functions on lattices, from a configuration.",
    "mlip": "Train, evaluate and use machine-learning interatomic potentials.",
}
"""What they are for, by name."""


def load(name: str) -> Domain:
    """A domain; what it needs is imported.

    Raises:
        ValueError: If a package is missing.
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
    try:
        from ritz.cli import mlip
        from ritz.cli.mlip_config import MLIPRun
    except ImportError as error:
        raise ValueError(f"this needs more: pip install 'ritz[mlip]' ({error})") from error
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
