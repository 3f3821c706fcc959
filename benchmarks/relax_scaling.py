"""How batched relaxation scales with the batch and with the size of structures."""

from benchmarks.relax import ARGON, CUTOFF, FMAX, argon, ase_relaxed, model, timed
from benchmarks.report import Table
from ritz.relax import relax

BATCHES = (1, 4, 16, 64, 256, 1024)
CELLS = {8: (2, 2, 2), 27: (3, 3, 3), 64: (4, 4, 4), 125: (5, 5, 5), 216: (6, 6, 6), 512: (8, 8, 8)}
OF_EACH_SIZE = 64
ROUNDS = 3


def row(n_atoms: int, n_structures: int) -> tuple[object, ...]:
    """Atoms, structures, structures/s of Ritz and ASE, mean steps, largest fmax."""
    structures = [argon(seed, CELLS[n_atoms]) for seed in range(n_structures)]
    first = timed(lambda: relax(structures, model(), fmax=FMAX))
    seconds = [timed(lambda: relax(structures, model(), fmax=FMAX)) for _ in range(ROUNDS)]
    last = relax(structures, model(), fmax=FMAX)
    assert last.converged
    theirs = structures[: max(1, min(n_structures, 432 // n_atoms // 4))]
    peer = len(theirs) / timed(lambda: ase_relaxed(theirs))
    rate = n_structures / sorted(seconds)[ROUNDS // 2]
    return (
        n_atoms,
        n_structures,
        rate,
        peer,
        rate / peer,
        float(last.steps.mean()),
        float(last.fmax.max()),
        first,
    )


def measure() -> Table:
    """One row a size."""
    rows = [row(27, n) for n in BATCHES]
    rows += [row(n, OF_EACH_SIZE) for n in CELLS if n != 27]
    return Table(
        "relax_scaling",
        "Relaxation: how it scales",
        ("atoms", "structures", "structures/s", "ASE", "ratio", "steps", "fmax", "first call s"),
        rows,
        f"Argon as above ({ARGON}, cutoff {CUTOFF}), relaxed to {FMAX} eV/Angstrom by FIRE from "
        "`ase.Atoms` to `ase.Atoms`, as many at a time as `max_atoms` lets by default; the median "
        f"of {ROUNDS} runs after the first, which compiles. ASE relaxes some of the same "
        "structures one after the other.",
    )
