"""Systems for configurations: a space, a Hamiltonian and observables."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import netket as nk
from netket.graph import AbstractGraph
from netket.hilbert import AbstractHilbert, DiscreteHilbert
from netket.operator import AbstractOperator, LocalOperator

from ritz.lattice.ising import ising_chain_energy


@dataclasses.dataclass(frozen=True)
class LatticeSystem:
    """A system to be solved. A function that returns one can be named in a configuration."""

    hilbert: AbstractHilbert
    hamiltonian: AbstractOperator
    graph: AbstractGraph | None = None
    """Sites and edges, for samplers that exchange neighbours."""
    observables: dict[str, AbstractOperator] = dataclasses.field(default_factory=dict)
    """Name -> operator, estimated besides the energy."""
    exact: float | None = None
    """The exact energy of the ground state, where it is known."""


def _checked(extent: Sequence[int]) -> list[int]:
    if isinstance(extent, int):
        extent = [extent]
    sizes = extent if isinstance(extent, list | tuple) else ()
    if not sizes or any(not isinstance(n, int) or n < 2 for n in sizes):
        raise ValueError(f"extent takes the sizes of a lattice, such as [4, 4], not {extent!r}.")
    return list(sizes)


def TransverseIsing(
    extent: Sequence[int] = (20,), field: float = 1.0, coupling: float = 1.0, periodic: bool = True
) -> LatticeSystem:
    """-J sum_<ij> z_i z_j - h sum_i x_i, with the magnetisations per site.

    Args:
        extent: Sites along each direction of a hypercubic lattice.
        field: h, the transverse field.
        coupling: J; positive is ferromagnetic.
        periodic: Whether opposite sides are neighbours.

    Raises:
        ValueError: If `extent` is not a list of sizes.
    """
    extent = _checked(extent)
    graph = nk.graph.Grid(extent, pbc=periodic)
    hilbert = nk.hilbert.Spin(0.5, graph.n_nodes)
    along = _mean(nk.operator.spin.sigmax, hilbert)
    exact = None
    if len(extent) == 1 and extent[0] > 2 and periodic and coupling > 0:
        exact = coupling * ising_chain_energy(extent[0], field / coupling)
    hamiltonian = nk.operator.IsingJax(hilbert, graph=graph, h=field, J=-coupling)  # pyright: ignore
    return LatticeSystem(hilbert, hamiltonian, graph, {"magnetisation_x": along}, exact)


def Heisenberg(
    extent: Sequence[int] = (4, 4),
    coupling: float = 1.0,
    periodic: bool = True,
    sign_rule: bool = True,
) -> LatticeSystem:
    """J sum_<ij> sigma_i . sigma_j (four times S_i . S_j), with no magnetisation.

    Args:
        extent: Sites along each direction of a hypercubic lattice; their product must be even.
        coupling: J; positive is antiferromagnetic.
        periodic: Whether opposite sides are neighbours.
        sign_rule: Whether Marshall's sign rule is applied, so that the ground state is positive.

    Raises:
        ValueError: If `extent` is not a list of sizes, or the sign rule has no sublattices.
    """
    extent = _checked(extent)
    graph = nk.graph.Grid(extent, pbc=periodic)
    if graph.n_nodes % 2:
        raise ValueError(f"the number of sites must be even, but extent {extent} was given.")
    if sign_rule and not graph.is_bipartite():
        raise ValueError(
            f"extent {extent} has no two sublattices for the sign rule; give sign_rule=false."
        )
    hilbert = nk.hilbert.Spin(0.5, graph.n_nodes, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, graph, J=coupling, sign_rule=sign_rule)
    return LatticeSystem(hilbert, hamiltonian, graph)


def _mean(
    operator: Callable[[DiscreteHilbert, int], LocalOperator], hilbert: DiscreteHilbert
) -> LocalOperator:
    total: Any = sum(operator(hilbert, i) for i in range(hilbert.size))
    return total * (1 / hilbert.size)
