"""Cells of a lattice in rows and columns, and what a kernel reaches from each of them."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Int, Shaped
from netket.graph import AbstractGraph

from ritz.checks import check_count
from ritz.wording import counted


@dataclasses.dataclass(frozen=True)
class Cells:
    """Unit cells on a rectangular, possibly periodic, grid; hashable.

    Sites are numbered as NetKet's `Lattice` numbers them: cell by cell, the last direction
    fastest, and within a cell its sites.

    Args:
        extent: Number of cells along each direction.
        periodic: Whether opposite sides are neighbours, along each direction.
        sites_per_cell: Number of sites in a unit cell.
    """

    extent: tuple[int, ...]
    periodic: tuple[bool, ...]
    sites_per_cell: int = 1

    @classmethod
    def of(cls, extent: Any, periodic: Any = True, sites_per_cell: int = 1) -> "Cells":
        """Cells from what users write.

        Args:
            extent: A number or a sequence of numbers.
            periodic: A bool for all directions, or one for each.
            sites_per_cell: Number of sites in a unit cell.

        Raises:
            TypeError: If the extent is a graph.
            ValueError: If a number is no whole number of at least 1, or there are more or fewer
                bools than directions.
        """
        if isinstance(extent, AbstractGraph):
            raise TypeError(
                "extent takes the number of unit cells along each direction, but the graph "
                f"{extent!r} was given; give graph.extent, with periodic=graph.pbc and "
                "sites_per_cell=len(graph.site_offsets)."
            )
        sizes = (extent,) if np.ndim(extent) == 0 else tuple(extent)
        if not sizes:
            raise ValueError("extent must have at least one direction, but () was given.")
        for size in sizes:
            check_count("extent", size, 1)
        ways = (periodic,) * len(sizes) if np.ndim(periodic) == 0 else tuple(periodic)
        if len(ways) != len(sizes) or not all(isinstance(way, bool | np.bool_) for way in ways):
            raise ValueError(
                f"periodic takes a bool, or one for each of the {len(sizes)} directions of extent, "
                f"but {periodic!r} was given."
            )
        check_count("sites_per_cell", sites_per_cell, 1)
        return cls(tuple(map(int, sizes)), tuple(map(bool, ways)), int(sites_per_cell))

    @property
    def n_cells(self) -> int:
        """Number of cells, the product of `extent`."""
        return int(np.prod(self.extent))

    def kernel_size(self, given: Any) -> tuple[int, ...]:
        """Size of a kernel along each direction, no larger than the lattice.

        Args:
            given: A number for all directions, or one for each.

        Raises:
            ValueError: If a size is no whole number of at least 1, or there are more or fewer sizes
                than directions.
        """
        sizes = (given,) * len(self.extent) if np.ndim(given) == 0 else tuple(given)
        if len(sizes) != len(self.extent):
            raise ValueError(
                f"a kernel has a size for each of the {len(self.extent)} directions of the "
                f"lattice, but {given!r} was given."
            )
        for size in sizes:
            check_count("kernel_size", size, 1)
        return tuple(min(int(k), n) for k, n in zip(sizes, self.extent, strict=True))

    @functools.lru_cache(maxsize=64)  # noqa: B019
    def reach(self, kernel_size: tuple[int, ...]) -> Int[np.ndarray, "n_cells n_taps"]:
        """The cell at each place of a kernel centred on each cell; `n_cells` outside.

        Kernels of even size reach further in the positive direction.
        """
        places = np.stack(np.unravel_index(np.arange(self.n_cells), self.extent), axis=-1)
        steps = np.array(list(itertools.product(*(range(k) for k in kernel_size))))
        steps = steps - (np.array(kernel_size) - 1) // 2
        there = places[:, None] + steps
        size = np.array(self.extent)
        inside = np.all(np.array(self.periodic) | ((there >= 0) & (there < size)), axis=-1)
        cells = np.ravel_multi_index(tuple(np.moveaxis(there % size, -1, 0)), self.extent)
        return np.where(inside, cells, self.n_cells)

    @functools.lru_cache(maxsize=64)  # noqa: B019
    def pairs(self) -> Int[np.ndarray, "n_cells n_cells"]:
        """A number for each pair of cells, the same for pairs that translations connect.

        They are numbered from 0 without gaps. Only periodic directions have translations.
        """
        numbers = np.zeros((self.n_cells, self.n_cells), int)
        places = np.unravel_index(np.arange(self.n_cells), self.extent)
        for place, n, wraps in zip(places, self.extent, self.periodic, strict=True):
            first, second = place[:, None], place[None, :]
            of_way = (second - first) % n if wraps else first * n + second
            numbers = numbers * (n if wraps else n * n) + of_way
        return numbers

    def by_cell(self, x: Shaped[Array, "*batch n_values"]) -> Shaped[Array, "*batch n_cells n"]:
        """Configurations cell by cell, with all values of a cell on the last axis.

        There may be several values for each site, as of fermions with two spins: then all sites
        come once for each.

        Raises:
            ValueError: If the values cannot be shared by the sites.
        """
        n_sites = self.n_cells * self.sites_per_cell
        if x.shape[-1] % n_sites:
            cell = f" of {counted(self.sites_per_cell, 'site')}" if self.sites_per_cell > 1 else ""
            raise ValueError(
                f"configurations with {counted(x.shape[-1], 'value')} do not fit the "
                f"{counted(self.n_cells, 'cell')}{cell} of a lattice with the extent "
                f"{self.extent}; give the extent of the lattice, such as graph.extent, and "
                "sites_per_cell, such as len(graph.site_offsets)."
            )
        kinds = x.shape[-1] // n_sites
        x = x.reshape(*x.shape[:-1], kinds, self.n_cells, self.sites_per_cell)
        return x.swapaxes(-3, -2).reshape(*x.shape[:-3], self.n_cells, -1)

    def patches(
        self, x: Shaped[Array, "*batch n_cells n"], size: int | Sequence[int]
    ) -> tuple["Cells", Shaped[Array, "*batch n_patches n_values"]]:
        """The lattice of patches of cells, and all values in each patch.

        Args:
            x: Values by cell.
            size: Number of cells of a patch along each direction.

        Raises:
            ValueError: If patches do not fill the lattice.
        """
        sizes = self.kernel_size(size)
        if any(n % k for n, k in zip(self.extent, sizes, strict=True)):
            raise ValueError(
                f"patches of {sizes} cells do not fill a lattice with the extent {self.extent}; "
                "give a patch_size that divides it, such as 1."
            )
        batch, n_ways = x.shape[:-2], len(sizes)
        counts = [n // k for n, k in zip(self.extent, sizes, strict=True)]
        split = [length for pair in zip(counts, sizes, strict=True) for length in pair]
        grid = x.reshape(-1, *split, x.shape[-1])
        order = [0, *range(1, 2 * n_ways, 2), *range(2, 2 * n_ways + 1, 2), 2 * n_ways + 1]
        moved = grid.transpose(order)
        patches = Cells(tuple(counts), self.periodic)
        return patches, moved.reshape(*batch, patches.n_cells, -1)
