"""Base class of wave functions on the cells of a lattice."""

from typing import Any, ClassVar

import numpy as np
from flax import linen as nn

from ritz.lattice.models.cells import Cells
from ritz.lattice.models.parameter_types import check_param_dtype


class CellModule(nn.Module):
    """A wave function on a lattice of cells; sites are numbered as in NetKet's `Lattice`.

    Raises:
        TypeError: If the extent is no sizes, or the type of the parameters is none they can have.
        ValueError: If a size is no whole number of at least 1, or there are more or fewer bools
            than directions.
    """

    takes_complex: ClassVar[bool] = False
    """Whether parameters may be complex."""

    extent: Any
    """Number of unit cells along each direction, such as `graph.extent`."""
    periodic: Any = True
    """Whether opposite sides are neighbours; a bool, or one for each direction, such as
    `graph.pbc`."""
    sites_per_cell: int = 1
    """Number of sites in a unit cell, such as `len(graph.site_offsets)`."""

    def __post_init__(self) -> None:
        cells = Cells.of(self.extent, self.periodic, self.sites_per_cell)
        object.__setattr__(self, "extent", cells.extent)  # hashable, as modules must be
        object.__setattr__(self, "periodic", cells.periodic)
        check_param_dtype(getattr(self, "param_dtype", float), takes_complex=self.takes_complex)
        for name in ("kernel_size", "patch_size"):
            size = getattr(self, name, None)
            if isinstance(size, list | np.ndarray):
                object.__setattr__(self, name, tuple(int(n) for n in size))
        super().__post_init__()

    @property
    def cells(self) -> Cells:
        """The cells of the lattice."""
        return Cells(self.extent, self.periodic, self.sites_per_cell)
