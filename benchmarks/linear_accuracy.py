"""Errors of potentials that are fitted in closed form, with the time taken."""

import time
from typing import Any

from benchmarks.data import TIO2_ATOMS
from benchmarks.potential_accuracy import splits
from benchmarks.report import Table
from ritz.mlip import ACEDescriptor, ANNPotential, FitConfig, StructureDataset

PUBLISHED = {
    "Si": ("MTP (Zuo et al.)", 3.0, 0.0881),
    "Li": ("MTP (Zuo et al.)", 0.7, 0.0132),
    "TiO2": ("aenet-PyTorch, 3,191 s", 7.74, 0.388),
}
"""Whose errors in test they are, in meV/atom and eV/Å."""

SEEDS = (0, 1, 2)


def row(name: str, size: str, seed: int) -> list[Any]:
    """Fit once, and evaluate on the test split."""
    began = time.perf_counter()
    train, test = splits(name)
    descriptor = ACEDescriptor.for_structures(train, degrees=size)
    energies = TIO2_ATOMS if name == "TiO2" else {}
    out = ANNPotential({symbol: [] for symbol in descriptor.species}, descriptor).fit(
        train_dataset=StructureDataset(train, descriptor, energies),
        test_dataset=StructureDataset(test, descriptor, energies),
        config=FitConfig(seed=seed),
    )
    stats, (who, energy, force) = out.stats, PUBLISHED[name]
    return [
        name,
        size,
        descriptor.n_features,
        descriptor.cutoff,
        seed,
        1e3 * stats["final_RMSE_train"],
        1e3 * stats["final_RMSE_test"],
        energy,
        stats["final_RMSE_force_train"],
        stats["final_RMSE_force_test"],
        force,
        who,
        out.timing["training"],
        time.perf_counter() - began,
    ]


def measure() -> Table:
    """Rows of three seeds for the large descriptor, and of one for the others."""
    runs = [(size, 0) for size in ("small", "medium")] + [("large", seed) for seed in SEEDS]
    return Table(
        "linear_accuracy",
        "Potentials in closed form: errors in test",
        (
            "data",
            "size",
            "features",
            "cutoff",
            "seed",
            "meV/atom in fit",
            "meV/atom in test",
            "meV/atom published",
            "eV/Å in fit",
            "eV/Å in test",
            "eV/Å published",
            "by",
            "s to fit",
            "s",
        ),
        [row(name, size, seed) for name in PUBLISHED for size, seed in runs],
        "ACEDescriptor.for_structures(train, degrees=size) and FitConfig(seed=seed), the same for "
        "all. Seeds divide what is fitted to into folds. RMSE; seconds are from reading files to "
        "the end, compilation and evaluation included.",
    )
