"""Committees of potentials: the mean of the members, and how far they spread about it."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from ritz.potentials.atomic_graph import AtomicGraph
from ritz.potentials.potential import AbstractPotential, Evaluated, evaluate


class Spread(NamedTuple):
    """How much the members of a committee disagree about one structure, or many."""

    energy: Float[Array, "..."]
    """Standard deviation of the total energy over the members (ddof 0), per atom, in eV."""
    force: Float[Array, "..."]
    """Largest over the atoms of the root mean square, over the members (ddof 0), of the deviation
    of the force vector from its mean, in eV/Angstrom."""


class AbstractCommittee(AbstractPotential):
    """The mean energy of several potentials of one form, whose spread tells how sure they are."""

    @property
    @abc.abstractmethod
    def members(self) -> AbstractPotential:
        """All members as one potential, whose parameters have the member as their first axis."""

    @property
    @abc.abstractmethod
    def error_factors(self) -> Spread:
        """The factors from the spread of energies and forces to their expected errors.

        They are 1 without a calibration.
        """

    def __call__(self, params: PyTree, structure: AtomicGraph) -> Float[Array, ""]:
        """The mean of the members' energies."""
        members = jax.tree.unflatten(jax.tree.structure(self), jax.tree.leaves(params)).members
        return jnp.mean(jax.vmap(lambda member: member(member.params, structure))(members))


def evaluate_members(
    committee: AbstractCommittee, structure: AtomicGraph, with_virial: bool = True
) -> Evaluated:
    """Energies, forces and virials of one structure by each member.

    Args:
        committee: The committee.
        structure: The structure.
        with_virial: Whether the virial is needed; it is zero otherwise.

    Returns:
        As from `evaluate`, with the member as the first axis.
    """
    return jax.vmap(lambda member: evaluate(member, structure, with_virial))(committee.members)


def spread_of(each: Evaluated, mask: Bool[Array, " n_atoms"]) -> Spread:
    """The spread of the members' energies and forces of one structure.

    Args:
        each: What the members say, see `evaluate_members`.
        mask: Which places hold an atom.
    """
    deviations = jnp.where(mask[:, None], each.forces - jnp.mean(each.forces, axis=0), 0)
    squares = jnp.mean(jnp.sum(deviations**2, axis=-1), axis=0)
    n_atoms = jnp.maximum(jnp.sum(mask), 1)
    return Spread(jnp.std(each.energy) / n_atoms, jnp.sqrt(jnp.max(squares)))


def evaluate_with_spread(
    committee: AbstractCommittee, structure: AtomicGraph, with_virial: bool = True
) -> tuple[Evaluated, Spread]:
    """Mean energy, forces and virial of one structure, and the errors to be expected of them.

    The expected errors are the spread of the members, times the factors of the committee's
    calibration. Energy, forces, virial and spread are NaN if two atoms are closer than any member
    allows.

    Args:
        committee: The committee.
        structure: The structure.
        with_virial: Whether the virial is needed; it is zero otherwise.
    """
    each = evaluate_members(committee, structure, with_virial)
    mean = Evaluated(*(jnp.mean(x, axis=0) for x in each))
    spread = spread_of(each, structure.mask)
    factors = committee.error_factors
    return mean, Spread(spread.energy * factors.energy, spread.force * factors.force)
