"""Orbitals of mean-field theory, with which wave functions of fermions may begin."""

import netket as nk
import numpy as np
from jaxtyping import Float
from netket.graph import AbstractGraph

from ritz.checks import check_count
from ritz.lattice.fermion_operators import edges_of, hopping_matrix

Orbitals = Float[np.ndarray, "n_sites n_orbitals"]


def _lowest(matrix: np.ndarray, n_orbitals: int) -> Orbitals:
    return np.linalg.eigh(matrix)[1][:, :n_orbitals]


def _check_number(name: str, n: int, graph: AbstractGraph) -> None:
    if check_count(name, n, 0) > graph.n_nodes:
        raise ValueError(
            f"{name} must be at most the number of sites, {graph.n_nodes}, but {n} was given."
        )


def free_orbitals(graph: AbstractGraph, n_orbitals: int, hopping: float = 1.0) -> Orbitals:
    """The lowest orbitals of free fermions, -t sum over edges (c_i^+ c_j + c_j^+ c_i).

    Args:
        graph: The lattice.
        n_orbitals: Number of orbitals.
        hopping: t.

    Returns:
        Orthonormal columns, shape (n_sites, n_orbitals), by energy. Where a level is filled in part
        its orbitals are arbitrary.

    Raises:
        ValueError: If there are more orbitals than sites.
    """
    _check_number("n_orbitals", n_orbitals, graph)
    return _lowest(hopping_matrix(graph, hopping), n_orbitals)


def hartree_fock_orbitals(
    graph: AbstractGraph,
    *,
    n_up: int,
    n_down: int,
    interaction: float,
    hopping: float = 1.0,
    iterations: int = 500,
) -> tuple[Orbitals, Orbitals]:
    """Unrestricted Hartree-Fock of the Hubbard model, begun with alternating spins.

    Each spin moves in the density of the other, U <n_i>, damped by half until densities change by
    less than 1e-10. It finds a solution near the antiferromagnet, which need not be the lowest.

    Args:
        graph: The lattice; its two sublattices begin with opposite spins, if it has some.
        n_up: Number of fermions with spin up.
        n_down: Number of fermions with spin down.
        interaction: U.
        hopping: t.
        iterations: Largest number of iterations.

    Returns:
        Orbitals of spin down and of spin up, shapes (n_sites, n_down) and (n_sites, n_up): the
        order in which `netket.hilbert.SpinOrbitalFermions` has the spins.

    Raises:
        ValueError: If there are more fermions of one spin than sites.
    """
    for name, n in (("n_up", n_up), ("n_down", n_down)):
        _check_number(name, n, graph)
    kinetic = hopping_matrix(graph, hopping)
    pattern = np.array([1.0 if side else -1.0 for side in _sides(graph)])
    numbers = (n_down, n_up)
    densities = [
        n / graph.n_nodes * (1 - s * 0.5 * pattern) for n, s in zip(numbers, (1, -1), strict=True)
    ]
    orbitals = [np.zeros((graph.n_nodes, n)) for n in numbers]
    for _ in range(iterations):
        fields = interaction * densities[1], interaction * densities[0]
        orbitals = [_lowest(kinetic + np.diag(f), n) for f, n in zip(fields, numbers, strict=True)]
        new = [np.sum(o**2, axis=1) for o in orbitals]
        change = max(np.abs(a - b).max() for a, b in zip(new, densities, strict=True))
        densities = [(a + b) / 2 for a, b in zip(new, densities, strict=True)]
        if change < 1e-10:
            break
    return orbitals[0], orbitals[1]


def _sides(graph: AbstractGraph) -> list[bool]:
    """The sublattice of each site; alternating by number where there are no two."""
    if not graph.is_bipartite():
        return [bool(i % 2) for i in graph.nodes()]
    distances = np.asarray(nk.graph.Graph(edges=edges_of(graph), n_nodes=graph.n_nodes).distances())
    return [bool(distance % 2) for distance in distances[0]]
