"""Systems for configurations: a space, a Hamiltonian and observables."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import netket as nk
import numpy as np
from netket.graph import AbstractGraph
from netket.hilbert import AbstractHilbert, DiscreteHilbert
from netket.operator import AbstractOperator, LocalOperator

from ritz.checks import check_count
from ritz.lattice.fermion_operators import edges_of, hopping_matrix, hopping_operator
from ritz.lattice.ising import ising_chain_energy
from ritz.lattice.known_energies import HUBBARD, heisenberg_energy
from ritz.lattice.models.mean_field import free_orbitals, hartree_fock_orbitals


@dataclasses.dataclass(frozen=True)
class LatticeSystem:
    """A system to be solved. A function that returns one can be named in a configuration."""

    hilbert: AbstractHilbert
    hamiltonian: AbstractOperator
    graph: AbstractGraph | None = None
    """Sites and edges, for samplers that exchange neighbours."""
    lattice: nk.graph.Lattice | None = None
    """The sites in cells, for models that know them; `graph` if it is a lattice."""
    observables: dict[str, AbstractOperator] = dataclasses.field(default_factory=dict)
    """Name -> operator, estimated besides the energy."""
    exact: float | None = None
    """The exact energy of the ground state, where it is known."""

    orbitals: Any = None
    """Of fermions: orbitals of a mean field for each spin, with which models may begin."""

    parity: int = 1
    """1 or -1: whether the ground state is even or odd if the two states of all sites are
    exchanged, in the basis of `hamiltonian`, where it has a parity."""

    is_invariant: bool = True
    """False if permutations under which the lattice is symmetric may change the sign of the ground
    state, in the basis of `hamiltonian`."""

    def __post_init__(self) -> None:
        if self.lattice is None and isinstance(self.graph, nk.graph.Lattice):
            object.__setattr__(self, "lattice", self.graph)


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
    observables: dict[str, AbstractOperator] = {"magnetisation_x": along}
    # For h < 0 its psi is positive times (-1)^(number of spins up).
    parity = -1 if field < 0 and graph.n_nodes % 2 else 1
    return LatticeSystem(
        hilbert, hamiltonian, graph, observables=observables, exact=exact, parity=parity
    )


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
            f"extent {extent} has no two sublattices for the sign rule; take other sizes, or give "
            "sign_rule=false (on the command line system.sign_rule=false)."
        )
    hilbert = nk.hilbert.Spin(0.5, graph.n_nodes, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(hilbert, graph, J=coupling, sign_rule=sign_rule)
    exact = heisenberg_energy(extent, coupling) if periodic else None
    parity = _spin_parity(graph, sign_rule, is_ferromagnet=coupling < 0)
    return LatticeSystem(
        hilbert, hamiltonian, graph, exact=exact, parity=parity, is_invariant=parity == 1
    )


def J1J2(
    extent: Sequence[int] = (4, 4),
    J2: float = 0.5,
    J1: float = 1.0,
    periodic: bool | Sequence[bool] = True,
    sign_rule: bool = True,
) -> LatticeSystem:
    """J1 sum_<ij> sigma_i . sigma_j + J2 sum over diagonals of squares, with no magnetisation.

    In Pauli matrices as `Heisenberg`: four times the Hamiltonian in spins S.

    Args:
        extent: The two sides of a lattice of squares. Along a side of 2, opposite sites are
            neighbours anyway: each pair of sites has one bond, also with `periodic`.
        J2: Coupling along the diagonals.
        J1: Coupling of neighbours.
        periodic: Whether opposite sides are neighbours, for both directions or each.
        sign_rule: Whether Marshall's sign rule is applied to the bonds J1, which makes their
            off-diagonal elements negative; those of J2 then keep their sign.

    Raises:
        ValueError: If `extent` is not two sizes with an even product, or the sign rule has no
            sublattices (an odd side that is periodic).
    """
    extent = _checked(extent)
    if len(extent) != 2:
        raise ValueError(f"J1J2 is a model on squares: extent takes two sizes, not {extent}.")
    graph = _grid(extent, periodic)
    if graph.n_nodes % 2:
        raise ValueError(f"the number of sites must be even, but extent {extent} was given.")
    if sign_rule and not graph.is_bipartite():
        raise ValueError(
            f"extent {extent} has no two sublattices for the sign rule; take other sizes, or give "
            "sign_rule=false (on the command line system.sign_rule=false)."
        )
    bonds = [(i, j, 0) for i, j in edges_of(graph)] + [(i, j, 1) for i, j in _diagonals(graph)]
    hilbert = nk.hilbert.Spin(0.5, graph.n_nodes, total_sz=0)
    hamiltonian = nk.operator.Heisenberg(
        hilbert, nk.graph.Graph(edges=bonds), J=[J1, J2], sign_rule=[sign_rule, False]
    )
    exact = heisenberg_energy(extent, J1, J2) if np.all(periodic) else None
    # Up to J2 of about 0.39 |J1|: Richter et al., Phys. Rev. B 81, 174429 (2010).
    parity = _spin_parity(graph, sign_rule, is_ferromagnet=J1 < 0 and J2 < -0.39 * J1)
    return LatticeSystem(
        hilbert, hamiltonian, graph, exact=exact, parity=parity, is_invariant=parity == 1
    )


def Hubbard(
    extent: Sequence[int] = (4, 2),
    interaction: float = 8.0,
    n_up: int | None = None,
    n_down: int | None = None,
    hopping: float = 1.0,
    periodic: bool | Sequence[bool] = True,
) -> LatticeSystem:
    """-t sum_<ij>,s (c_is^+ c_js + h.c.) + U sum_i n_i,up n_i,down, with the double occupancy.

    Configurations are occupation numbers of the sites for spin down, followed by those for spin up.
    The graph has both copies of the lattice, so that `MetropolisExchange` moves fermions of one
    spin. `double_occupancy` is the mean over sites, `spin_correlation` the mean of S^z_i S^z_j over
    neighbours, with S^z = (n_up - n_down) / 2.

    Args:
        extent: Sites along each direction of a hypercubic lattice. Along a side of 2, opposite
            sites are neighbours anyway: each pair of sites has one bond of strength t, also with
            `periodic` (elsewhere the pair may be counted twice, which is a hopping of 2t).
        interaction: U.
        n_up: Number of fermions with spin up; by default half of the number of sites.
        n_down: Number of fermions with spin down; by default half of the number of sites.
        hopping: t.
        periodic: Whether opposite sides are neighbours, for all directions or each.

    Raises:
        ValueError: If `extent` is not a list of sizes, or the fermions have no room.
    """
    extent = _checked(extent)
    lattice = _grid(extent, periodic)
    n_sites = lattice.n_nodes
    numbers = (_number("n_down", n_down, n_sites), _number("n_up", n_up, n_sites))
    hilbert = nk.hilbert.SpinOrbitalFermions(n_sites, s=1 / 2, n_fermions_per_spin=numbers)
    down, up = np.eye(2 * n_sites).reshape(2, n_sites, -1)
    pairs = sum(np.outer(u, d) for u, d in zip(up, down, strict=True))
    spins = (up - down) / 2
    near = sum(np.outer(spins[i], spins[j]) for i, j in edges_of(lattice)) / lattice.n_edges
    bonds = [(i + first, j + first) for first in (0, n_sites) for i, j in edges_of(lattice)]
    hamiltonian = hopping_operator(hilbert, bonds, -hopping, interaction * pairs)
    observables: dict[str, AbstractOperator] = {
        "double_occupancy": hopping_operator(hilbert, [], 0, pairs / n_sites),
        "spin_correlation": hopping_operator(hilbert, [], 0, near),
    }
    exact = sum(_free_energy(lattice, n, hopping) for n in numbers) if interaction == 0 else None
    if np.all(periodic) and hopping == 1:
        exact = HUBBARD.get((*extent, *numbers, interaction), exact)
    graph: Any = nk.graph.disjoint_union(lattice, lattice)  # pyright: ignore
    orbitals = hartree_fock_orbitals(
        lattice, n_up=numbers[1], n_down=numbers[0], interaction=interaction, hopping=hopping
    )
    return LatticeSystem(hilbert, hamiltonian, graph, lattice, observables, exact, orbitals)


def SpinlessFermions(
    extent: Sequence[int] = (8,),
    interaction: float = 1.0,
    n_fermions: int | None = None,
    hopping: float = 1.0,
    periodic: bool | Sequence[bool] = True,
) -> LatticeSystem:
    """The t-V model, -t sum_<ij> (c_i^+ c_j + h.c.) + V sum_<ij> n_i n_j.

    `density_correlation` is the mean of n_i n_j over neighbours.

    Args:
        extent: Sites along each direction of a hypercubic lattice. Along a side of 2, each pair of
            sites has one bond, also with `periodic`.
        interaction: V.
        n_fermions: Number of fermions; by default half of the number of sites.
        hopping: t.
        periodic: Whether opposite sides are neighbours, for all directions or each.

    Raises:
        ValueError: If `extent` is not a list of sizes, or the fermions have no room.
    """
    graph = _grid(_checked(extent), periodic)
    n = _number("n_fermions", n_fermions, graph.n_nodes)
    hilbert = nk.hilbert.SpinOrbitalFermions(graph.n_nodes, n_fermions=n)
    near = np.zeros((graph.n_nodes, graph.n_nodes))
    near[tuple(np.transpose(edges_of(graph)))] = 1
    hamiltonian = hopping_operator(hilbert, edges_of(graph), -hopping, interaction * near)
    mean = hopping_operator(hilbert, [], 0, near / graph.n_edges)
    observables: dict[str, AbstractOperator] = {"density_correlation": mean}
    exact = _free_energy(graph, n, hopping) if interaction == 0 else None
    orbitals = free_orbitals(graph, n)
    return LatticeSystem(hilbert, hamiltonian, graph, graph, observables, exact, orbitals)


def _spin_parity(graph: AbstractGraph, sign_rule: bool, *, is_ferromagnet: bool) -> int:
    """Parity of the ground state of spins 1/2 with no magnetisation if all spins are flipped.

    That of total spin S is (-1)^(N/2 - S): with S = N/2 of a ferromagnet 1, otherwise S is 0. The
    sign rule brings another (-1)^(N/2), since half of the spins are on each sublattice.
    """
    return 1 if sign_rule != is_ferromagnet else (-1) ** (graph.n_nodes // 2)


def _grid(extent: list[int], periodic: bool | Sequence[bool]) -> nk.graph.Lattice:
    """A hypercubic lattice with one bond for each pair of neighbours."""
    along = [periodic] * len(extent) if isinstance(periodic, bool) else list(periodic)
    if len(along) != len(extent) or not all(isinstance(one, bool) for one in along):
        raise ValueError(
            f"periodic takes true or false, or one of them for each of {len(extent)} directions, "
            f"not {periodic!r}."
        )
    # NetKet has no second bond along a side of 2 either, but warns.
    return nk.graph.Grid(extent, pbc=[p and n > 2 for p, n in zip(along, extent, strict=True)])


def _diagonals(graph: nk.graph.Lattice) -> list[tuple[int, int]]:
    """Pairs of sites at opposite corners of squares, each once."""
    near = [set(graph.adjacency_list()[i]) for i in graph.nodes()]
    return [
        (i, j)
        for i, j in itertools.combinations(graph.nodes(), 2)
        if j not in near[i] and _is_diagonal(graph, i, j)
    ]


def _is_diagonal(graph: nk.graph.Lattice, i: int, j: int) -> bool:
    """Whether both coordinates differ by one, around the boundary where it is periodic."""
    gap = np.abs(graph.basis_coords[i][:-1] - graph.basis_coords[j][:-1])
    wrapped = np.where(graph.pbc, np.minimum(gap, graph.extent - gap), gap)
    return bool(np.all(wrapped == 1))


def _number(name: str, n: int | None, n_sites: int) -> int:
    """A number of fermions of one spin; half of the sites by default."""
    if n is None:
        if n_sites % 2:
            raise ValueError(
                f"{name} is half of the sites by default, but there are {n_sites}; give {name}."
            )
        return n_sites // 2
    if check_count(name, n, 0) > n_sites:
        raise ValueError(f"{name} must be at most the {n_sites} sites, but {n} was given.")
    return n


def _free_energy(graph: AbstractGraph, n: int, hopping: float) -> float:
    """The energy of n fermions of one spin that do not interact."""
    return float(np.sum(np.linalg.eigvalsh(hopping_matrix(graph, hopping))[:n]))


def _mean(
    operator: Callable[[DiscreteHilbert, int], LocalOperator], hilbert: DiscreteHilbert
) -> LocalOperator:
    total: Any = sum(operator(hilbert, i) for i in range(hilbert.size))
    return total * (1 / hilbert.size)
