"""Trainings with KFAC, and the dense Gauss-Newton matrices of their batches."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ritz.mlip import (
    ANNPotential,
    Structure,
)
from ritz.mlip.models.abstract_model import Batch
from ritz.mlip.training.curvature import Sums
from ritz.updates.kfac import parts_of
from tests.mlip.systems import (
    ARCH,
    config,
    dataset,
    descriptor,
    potential,
    random_structure,
)

NEWTON = {"diag_shift": 1e-12, "norm_constraint": None, "decay": 0.0}
"""Nothing but the curvature of the step."""


def some_structures():
    """Of several sizes and compositions, in pairs; the first ones are without titanium."""
    found = []
    both = ("Ti", "O")
    kinds = [(("O",), 3), (("O",), 5), (both, 4), (("O",), 1), (both, 9), (("Ti",), 2), (both, 6)]
    for seed, (species, n) in enumerate(kinds):
        s = random_structure(seed, species, n)
        weight = 2.0 if n == 4 else 1.0
        energy = 0.1 * np.random.default_rng(seed).normal() * n
        found.append(Structure(s.positions, s.species, energy, cell=s.cell, weight=weight))
    return found


def driver(structures=None, arch=ARCH, kind=descriptor, **settings):
    usual = {"force_weight": 0.0, "testpercent": 0, "atomic_energies": {}}
    if structures is None:
        return potential().driver(dataset=dataset(), config=config(**{**usual, **settings}))
    return ANNPotential(arch, kind()).driver(structures, config(**{**usual, **settings}))


class Dense(NamedTuple):
    """What is known of the next batch."""

    jacobian: np.ndarray
    """Of energies per atom, in units of half of their range."""
    residuals: np.ndarray
    q: np.ndarray
    """Weights, which add up to one."""
    batch: Batch
    sums: Sums

    @property
    def matrix(self):
        return self.jacobian.T @ (self.q[:, None] * self.jacobian)


@jax.jit
def _dense(kernel, carry):
    _, [batch] = kernel.sample(carry)
    batch = batch._replace(tables=None)
    vector, restore = ravel_pytree(carry.params)
    model, scales, [size] = kernel.settings.model, kernel.normalisation, kernel.settings.capacity

    def residuals(vector):
        energy = model.predict(restore(vector), scales, batch, size).energy
        return (energy - batch.labels.energy) / batch.n_atoms * scales.e_scaling

    q = batch.labels.weight / jnp.sum(batch.labels.weight)
    sums = kernel.settings.curvature.sums(carry.params, scales, [batch], [size], q)
    return Dense(jax.jacrev(residuals)(vector), residuals(vector), q, batch, sums)


def dense(made):
    with made._precision():
        found = _dense(made.kernel, made.carry)
    return Dense(*(np.asarray(part) for part in found[:3]), *found[3:])


def columns(made):
    """For each block the columns of its parameters, in the order of its matrix."""
    ends = np.cumsum([leaf.size for leaf in jax.tree.leaves(made.carry.params)])
    numbers = jax.tree.map(lambda leaf: np.arange(leaf.size).reshape(leaf.shape), made.carry.params)
    leaves, structure = jax.tree.flatten(numbers)
    begins = [0, *ends[:-1]]
    numbers = [leaf + begin for leaf, begin in zip(leaves, begins, strict=True)]
    blocks = made.kernel.settings.curvature.blocks
    parts = parts_of(jax.tree.unflatten(structure, numbers), blocks)
    return blocks, [np.asarray(part).ravel() for part in parts]


def random_parameters(made):
    """Biases begin at zero; others are as good."""
    random = np.random.default_rng(1)
    with made._precision():
        made.state.parameters = jax.tree.map(
            lambda leaf: jnp.asarray(leaf + 0.3 * random.normal(size=leaf.shape)),
            made.state.parameters,
        )


def one_species():
    return [
        Structure(s.positions, s.species, np.random.default_rng(n).normal() * len(s), cell=s.cell)
        for n, s in enumerate(random_structure(n, ("O",), 3 + n % 3) for n in range(24))
    ]
