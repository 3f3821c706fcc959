"""The density of electrons, as histograms."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from typing_extensions import override

from ritz.checks import check_choice, check_count, check_positive
from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, LogPsi, Values

AXES = ("x", "y", "z", "r")


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Density(AbstractEstimator):
    """Number of electrons in intervals along an axis, or of the distance from the origin.

    Divided by the widths of the intervals: electrons per bohr.

    Args:
        axis: "x", "y", "z", or "r" for the distance from the origin.
        extent: The intervals reach from -extent (0 for "r") to extent, in bohr. Electrons beyond
            are not counted.
        n_bins: Number of intervals.

    Raises:
        ValueError: If a setting is not allowed.
    """

    axis: str = "z"
    extent: float = 6.0
    n_bins: int = 60

    def __post_init__(self) -> None:
        check_choice("axis", self.axis, AXES)
        check_positive("extent", self.extent)
        check_count("n_bins", self.n_bins, 1)

    @property
    def edges(self) -> Float[np.ndarray, " n_edges"]:
        """Edges of the intervals, in bohr."""
        return np.linspace(0 if self.axis == "r" else -self.extent, self.extent, self.n_bins + 1)

    @override
    def evaluate(
        self,
        log_psi: LogPsi,
        params: PyTree,
        samples: Float[Array, "n_samples n_electrons 3"],
        values: Mapping[str, Values],
    ) -> Float[Array, "n_samples n_bins"]:
        is_radial = self.axis == "r"
        places = (
            jnp.linalg.norm(samples, axis=-1) if is_radial else samples[..., "xyz".index(self.axis)]
        )
        edges = self.edges
        width = float(edges[1] - edges[0])
        bins = jnp.floor((places - float(edges[0])) / width).astype(jnp.int32)
        bins = jnp.where((places >= float(edges[0])) & (bins < self.n_bins), bins, -1)
        counts = jnp.sum(jax.nn.one_hot(bins, self.n_bins, dtype=samples.dtype), axis=1)
        return counts / width
