"""Clipping of local losses, for gradients that few samples cannot dominate."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int

from ritz.checks import check_choice, check_positive
from ritz.driver.signatures import suggests_fields

CLIPS = ("mean_absolute_deviation", "median_absolute_deviation", "none")


@suggests_fields
@dataclasses.dataclass(frozen=True)
class LossAndGrad:
    """How local losses become loss and gradient: 2 Re <O* (E - <E>)>, with E clipped.

    The gradient is one weighted vector-Jacobian product, and every update rule is given the same
    clipped values. The loss that is reported is that of the unclipped values.

    Args:
        clip_method: Local losses farther from their median than `clip_scale` times their mean or
            median absolute deviation from it are set to that distance. "mean_absolute_deviation"
            is FermiNet's (Pfau et al., Phys. Rev. Research 2, 033429, 2020); "none" keeps all.
        clip_scale: The largest distance, in absolute deviations.

    Raises:
        ValueError: If a setting is not allowed.
    """

    clip_method: str = "mean_absolute_deviation"
    clip_scale: float = 5.0

    def __post_init__(self) -> None:
        check_choice("clip_method", self.clip_method, CLIPS)
        check_positive("clip_scale", self.clip_scale)

    def clipped(
        self, losses: Inexact[Array, " n_samples"]
    ) -> tuple[Inexact[Array, " n_samples"], Int[Array, ""]]:
        """The clipped local losses, and how many were clipped.

        Real and imaginary parts are clipped apart; losses that are not finite stay as they are
        and do not count in centre and width.
        """
        if self.clip_method == "none":
            return losses, jnp.zeros((), jnp.int32)
        finite = jnp.isfinite(losses)
        real, far = self._clipped(jnp.real(losses), finite)
        if not jnp.iscomplexobj(losses):
            return real, jnp.sum(far, dtype=jnp.int32)
        imaginary, far_too = self._clipped(jnp.imag(losses), finite)
        return jax.lax.complex(real, imaginary), jnp.sum(far | far_too, dtype=jnp.int32)

    def _clipped(
        self, losses: Float[Array, " n"], finite: Bool[Array, " n"]
    ) -> tuple[Array, Array]:
        kept = jnp.where(finite, losses, jnp.nan)
        centre = jnp.nanmedian(kept)
        deviations = jnp.abs(kept - centre)
        is_mean = self.clip_method == "mean_absolute_deviation"
        width = jnp.nanmean(deviations) if is_mean else jnp.nanmedian(deviations)
        most = self.clip_scale * width
        clipped = jnp.clip(losses, centre - most, centre + most)
        return jnp.where(finite, clipped, losses), deviations > most
