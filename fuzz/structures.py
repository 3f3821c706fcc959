"""Random bad structures: read, relaxed, trained on, predicted."""

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.case import Kind, Wrong
from fuzz.command import ritz
from fuzz.settings import MLIP_BASE, results
from fuzz.wild import Wild, direct_energy, wild

RELAX = (
    "--model",
    "lennard-jones",
    "--model.epsilon=0.01",
    "--model.sigma=2.0",
    "--model.cutoff=4.0",
    "--progress=false",
    "--max_steps=30",
    "--fmax=0.02",
)


class Structures(Kind):
    """Writes files of good and bad structures, and gives them to all that takes structures."""

    name = "structures"
    limit = 90.0

    def prepare(self) -> None:
        """Train the potential that predicts."""
        import jax

        jax.config.update("jax_disable_most_optimizations", True)
        warnings.simplefilter("ignore")
        file = self.folder / "good.extxyz"
        chance = random.Random(0)
        file.write_text("".join(wild(chance, good=True).text for _ in range(6)))
        told = ritz(
            "mlip",
            "train",
            *MLIP_BASE,
            f"folder={self.folder / 'run'}",
            f"data.train=[{file}]",
            "train.iterations=2",
        )
        if told.status:
            raise Wrong(f"a good potential cannot be trained: {told.err}")

    def case(self, chance: random.Random, folder: Path) -> None:
        """One file of one to four structures, and one thing that is done with it."""
        given = [wild(chance, good=chance.random() < 0.4) for _ in range(chance.choice([1, 2, 4]))]
        Path("some.extxyz").write_text("".join(one.text for one in given))
        way = chance.choice(["read", "read", "relax", "relax", "train", "predict"])
        self.done.append(f"{way}: {[one.flaws for one in given]}")
        self.done.append(repr(Path("some.extxyz").read_text())[:1500])
        getattr(self, f"_{way}")(given, chance)
        results(folder)

    def _read(self, given: list[Wild], chance: random.Random) -> None:
        from ritz.mlip import read_structures

        try:
            found = read_structures("some.extxyz")
        except (ValueError, FileNotFoundError) as error:
            told = str(error)
            if "some.extxyz" not in told or "\n" in told:
                raise Wrong(f"the error names no file, or is long: {told[:500]!r}") from error
            if not any(one.flaws for one in given):
                raise Wrong(f"good structures are refused: {told!r}") from error
            return
        for structure in found:
            arrays = [structure.positions, structure.energy, structure.forces, structure.stress]
            for array in arrays:
                if array is not None and not np.all(np.isfinite(array)):
                    raise Wrong(f"read without an error, and not finite: {structure}")
        given = [one for one in given if "unconverged" not in one.flaws]  # those are skipped
        if len(found) != len(given):
            raise Wrong(f"{len(given)} structures were written, {len(found)} read")
        for one, structure in zip(given, found, strict=True):
            if one.energy is not None and structure.energy != one.energy:
                raise Wrong(f"energy {one.energy!r} was read as {structure.energy!r}")

    def _relax(self, given: list[Wild], chance: random.Random) -> None:
        more = ["--cell"] if chance.random() < 0.2 else []
        more += [f"--optimizer={chance.choice(['fire', 'lbfgs'])}"]
        told = ritz("relax", "some.extxyz", *RELAX, *more)
        if told.status == 2:
            if "some.extxyz" not in told.err and "structure" not in told.err:
                raise Wrong(f"the error names nothing: {told.error!r}")
            return
        import ase.io

        for atoms in ase.io.read("relaxed.extxyz", ":"):
            if atoms.info["status"] != "converged":
                continue
            direct = direct_energy(atoms, 0.01, 2.0, 4.0)
            energy = atoms.get_potential_energy()
            if not np.isclose(energy, direct, rtol=1e-6, atol=1e-8):
                raise Wrong(f"converged with the energy {energy}, which is {direct}: {atoms}")
            forces = atoms.get_forces()
            if not np.all(np.linalg.norm(forces, axis=1) <= 0.02 + 1e-9):
                raise Wrong(f"converged with forces of {np.abs(forces).max()}")

    def _train(self, given: list[Wild], chance: random.Random) -> None:
        weight = chance.choice(["0", "0.3"])
        told = ritz(
            "mlip",
            "train",
            *MLIP_BASE,
            "data.train=[some.extxyz]",
            "train.iterations=2",
            f"train.force_weight={weight}",
        )
        if told.status and not _names(told.error):
            raise Wrong(f"the error names nothing: {told.error!r}")
        bad = {flaw for one in given for flaw in one.flaws} & NEVER_TRAINED
        if told.status == 0 and bad and not told.warnings:
            raise Wrong(f"trained without a word on structures with {bad}")

    def _predict(self, given: list[Wild], chance: random.Random) -> None:
        run = self.folder / "run"
        told = ritz(
            "mlip",
            "predict",
            f"folder={run}",
            "predict.files=[some.extxyz]",
            f"predict.output={Path.cwd() / 'out.extxyz'}",
            f"predict.table={Path.cwd() / 'out.csv'}",
        )
        if told.status:
            if not _names(told.error):
                raise Wrong(f"the error names nothing: {told.error!r}")
            return
        import ase.io

        from ritz.mlip import Structure, load_potential

        found: list[Any] = ase.io.read("out.extxyz", ":")
        if len(found) != len(given):
            raise Wrong(f"{len(given)} structures, {len(found)} predictions")
        potential = load_potential(run / "potential.npz")
        for atoms in found:
            cell = atoms.cell.array if atoms.pbc.any() else None
            structure = Structure(atoms.positions, atoms.symbols, cell=cell, pbc=atoms.pbc)
            energy = atoms.get_potential_energy()
            single = float(potential.predict([structure]).total_energy[0])
            if not np.isfinite(energy) and not told.warnings:
                raise Wrong(f"an energy of {energy} is predicted without a word")
            if not np.isclose(energy, single, rtol=1e-5, atol=1e-5, equal_nan=True):
                raise Wrong(f"{energy} is predicted, alone {single}")


NEVER_TRAINED = {
    "one place",
    "an image at one place",
    "energy nan",
    "positions nan",
    "zero weight",
    "flat cell",
    "forces nan",
}
"""Flaws on which no potential may be trained without a word."""


def _names(error: str) -> bool:
    """Whether an error says which file, frame or setting is meant."""
    return any(word in error for word in ("some.extxyz", "train", "data.", "structure", "predict"))
