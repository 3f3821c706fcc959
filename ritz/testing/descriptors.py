"""What every descriptor must do."""

import json
from typing import TYPE_CHECKING

import numpy as np

from ritz.testing.requirement import require

if TYPE_CHECKING:
    from ase import Atoms

    from ritz.mlip.descriptors.abstract_descriptor import AbstractDescriptor

_STEP = 1e-4
"""The step of finite differences, in Angstrom or as a strain."""


def check_descriptor(
    descriptor: "AbstractDescriptor", atoms: "Atoms | None" = None, tolerance: float = 1e-6
) -> None:
    """Check a descriptor of `ritz.mlip`.

    Its settings must pass through JSON; features must not change when a structure is rotated or
    moved, nor with the order of its atoms, and go to zero at the cutoff; derivatives, forces and
    stress must be those of the features.

    Args:
        descriptor: The descriptor, in float64.
        atoms: An `ase.Atoms` of its species; by default one is made up.
        tolerance: How much features of the order of 1 and their derivatives may be off.

    Raises:
        AssertionError: With what is wrong.
    """
    atoms = _structure(descriptor) if atoms is None else atoms
    _check_settings(descriptor)
    found = descriptor.featurize(atoms)
    expected = (len(atoms), descriptor.n_features)
    require(found.shape == expected, f"features have the shape {found.shape}, not {expected}")
    require(
        found.dtype == descriptor.dtype, f"features are of {found.dtype}, not {descriptor.dtype}"
    )
    require(np.all(np.isfinite(found)), "features are not finite")
    tolerance *= max(1.0, float(np.abs(found).max()))
    _check_invariance(descriptor, atoms, found, tolerance)
    _check_cutoff(descriptor, tolerance)
    _check_derivatives(descriptor, atoms, tolerance)
    _check_files(descriptor, atoms)
    _check_forces(descriptor, atoms, tolerance)


def _structure(descriptor: "AbstractDescriptor") -> "Atoms":
    from ase import Atoms

    random = np.random.default_rng(0)
    grid = np.array(list(np.ndindex(2, 2, 2)))[: max(6, len(descriptor.species))]
    spacing = max(2.0, 1.5 * descriptor.min_cutoff)
    positions = spacing * (grid + 0.15 * random.normal(size=grid.shape))
    cell = 2 * spacing * np.eye(3) + 0.3 * random.normal(size=(3, 3))
    return Atoms(np.resize(descriptor.species, len(grid)), positions, cell=cell, pbc=True)


def _check_settings(descriptor: "AbstractDescriptor") -> None:
    header = descriptor.header()
    again = type(descriptor).from_header(json.loads(json.dumps(header)))
    require(again == descriptor, f"from_header(header()) is {again!r}, not {descriptor!r}")
    require(hash(again) == hash(descriptor), "equal descriptors have different hashes")
    require("device" not in header, "the header has the device, which is no part of files")
    require(0 <= descriptor.min_cutoff < descriptor.cutoff, "min_cutoff is not below the cutoff")


def _check_invariance(
    descriptor: "AbstractDescriptor", atoms: "Atoms", found: np.ndarray, tolerance: float
) -> None:
    order = np.random.default_rng(1).permutation(len(atoms))
    rotated, moved = atoms.copy(), atoms.copy()
    rotated.rotate(37, (1, 2, 3), rotate_cell=True)
    moved.positions += np.array([0.3, -0.2, 0.1])
    for what, other, own in (
        ("a rotation", rotated, found),
        ("moving all atoms", moved, found),
        ("the order of atoms", atoms[order], found[order]),
    ):
        off = np.abs(descriptor.featurize(other) - own).max()
        require(off < tolerance, f"{what} changes features by {off}")


def _check_cutoff(descriptor: "AbstractDescriptor", tolerance: float) -> None:
    from ase import Atoms

    for first in descriptor.species:
        for second in descriptor.species:
            away = descriptor.cutoff * (1 - 1e-5)
            pair = Atoms([first, second], [[0.0, 0, 0], [away, 0, 0]])
            near, alone = (descriptor.featurize(a)[0] for a in (pair, pair[:1]))
            off = np.abs(near - alone).max()
            require(off < 100 * tolerance, f"a neighbour at the cutoff changes features by {off}")


def _check_derivatives(descriptor: "AbstractDescriptor", atoms: "Atoms", tolerance: float) -> None:
    import jax
    import jax.numpy as jnp

    from ritz.mlip.data.labels import as_structure
    from ritz.mlip.descriptors.chunk import Chunk

    chunk = Chunk(
        [as_structure(atoms)], descriptor.species, descriptor.cutoff, descriptor.min_cutoff
    )
    widths = descriptor.widths_of(chunk.pairs)
    random = np.random.default_rng(2)
    by_feature = random.normal(size=(len(atoms), descriptor.n_features))
    with jax.enable_x64(True):
        rows = chunk.pairs.rows(0, len(atoms), widths[0] + 8)
        vectors, *rest = map(jnp.asarray, rows)
        others = rest[0], rest[1], rest[2]
        order = random.permutation(vectors.shape[1])
        shuffled = *(part[:, order] for part in rows[:3]), rows[3]
        total = jax.jit(lambda v, p, k, c: jnp.sum(by_feature * descriptor.features(v, p, k, c)))
        slopes = np.asarray(jax.grad(total)(vectors, *others))
        here, elsewhere = total(vectors, *others), total(*shuffled)
        off = abs(float(elsewhere - here))
        away = random.normal(size=vectors.shape) * np.asarray(others[0])[..., None]
        back, ahead = (float(total(vectors + s * _STEP * away, *others)) for s in (-1, 1))
        local = descriptor.local_derivatives(vectors, *others, widths[1])
        along, across = descriptor.pullback(jnp.asarray(by_feature), local, others[1])
        closed = jnp.moveaxis(along[:, None] * local.units, -1, -2)
        closed = closed.at[:, : across.shape[-1]].add(jnp.moveaxis(across, -1, -2))
        wrong = float(jnp.abs(closed - slopes).max())
    require(off < tolerance * len(atoms), f"the order of neighbours changes features by {off}")
    require(np.all(np.isfinite(slopes)), "derivatives by vectors are not finite, in empty entries")
    slope, expected = (ahead - back) / (2 * _STEP), np.sum(slopes * away)
    require(
        abs(slope - expected) < 10 * tolerance * max(1, np.abs(away).sum()),
        f"the derivative of features is {expected} by JAX, but {slope} by finite differences",
    )
    require(wrong < tolerance, f"local_derivatives and pullback are off from JAX's by {wrong}")


def _check_files(descriptor: "AbstractDescriptor", atoms: "Atoms") -> None:
    from ritz.mlip.data.labels import as_structures

    structures = as_structures([atoms, atoms[: len(atoms) - 1]])
    rows = descriptor.file_rows(structures, with_features=True, with_derivatives=True)
    if rows.features is None or rows.derivatives is None:
        raise AssertionError("rows for files lack features or derivatives")
    known = zip(rows.features, rows.derivatives, structures, strict=True)
    for features, (values, indices), structure in known:
        off = np.abs(features - descriptor.featurize(structure)).max()
        require(off < 1e-12, f"features for files are off by {off}")
        found = descriptor.unpack_derivatives(values, indices, len(structure))
        n_pairs = int(found["counts"].sum())
        require(len(found["slopes"]) == n_pairs, "derivatives for files are not of all pairs")


def _check_forces(descriptor: "AbstractDescriptor", atoms: "Atoms", tolerance: float) -> None:
    from ritz.mlip import ANNPotential
    from ritz.mlip.models.abstract_model import Normalisation

    potential = ANNPotential({s: [(4, "tanh")] for s in descriptor.species}, descriptor)
    potential.parameters = potential.first_parameters(0)
    n = descriptor.n_features
    potential.normalisation = Normalisation(np.zeros(n), np.ones(n), 1.0, 0.0)
    random = np.random.default_rng(3)
    away, strain = random.normal(size=(len(atoms), 3)), random.normal(size=(3, 3))
    strain = (strain + strain.T) / 2
    structures = [atoms.copy() for _ in range(5)]
    for sign, moved, strained in zip((-1, 1), structures[1:3], structures[3:], strict=True):
        moved.positions += sign * _STEP * away
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * _STEP * strain), scale_atoms=True)
    found = potential.predict(structures, eval_forces=True)
    back, ahead, small, large = found.total_energy[1:]
    if found.forces is None or found.stress is None:
        raise AssertionError("predictions lack forces or stress")
    slope, expected = (ahead - back) / (2 * _STEP), -np.sum(found.forces[0] * away)
    require(
        abs(slope - expected) < tolerance * max(1, np.abs(away).sum()),
        f"forces are not the derivative of the energy: {expected} is {slope} by finite differences",
    )
    if not all(atoms.pbc):
        return
    slope = (large - small) / (2 * _STEP)
    expected = np.sum(found.stress[0] * strain) * atoms.get_volume()
    require(
        abs(slope - expected) < tolerance * max(1, atoms.get_volume()),
        f"stress is not the derivative of the energy: {expected} is {slope} by finite differences",
    )
