"""Base class of drivers that differentiate log psi."""

from collections.abc import Mapping

from typing_extensions import override

from ritz.lattice.driver import LatticeDriver


class DifferentiatingDriver(LatticeDriver):
    """A driver on NetKet's states whose steps need derivatives of log psi."""

    mode: str
    """"real", "complex" or "holomorphic", of derivatives."""
    chunk_size_bwd: int | None
    """How many samples are differentiated at once; None for as many as are evaluated."""

    @property
    @override
    def chunk_sizes(self) -> dict[str, int | None]:
        """Configurations evaluated ("forward") and differentiated ("backward") at once."""
        return {"forward": self.state.chunk_size, "backward": self.chunk_size_bwd}

    @chunk_sizes.setter
    def chunk_sizes(self, sizes: Mapping[str, int | None]) -> None:
        self.state.chunk_size = sizes["forward"]
        self.chunk_size_bwd = sizes["backward"]
