"""Wave functions of electrons in the form that samplers and estimators take."""

import dataclasses
import inspect
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Inexact, PyTree

from ritz.driver.signatures import suggests_fields
from ritz.full_precision import in_full_precision
from ritz.molecule.molecule import Molecule

_logger = logging.getLogger(__name__)

Psi: TypeAlias = Callable[[PyTree, Float[Array, "n_electrons 3"]], tuple[Array, Array]]
"""`(params, electrons) -> (sign, log |psi|)`, for one configuration; sign may be a phase."""


@jax.tree_util.register_pytree_node_class
@suggests_fields
@dataclasses.dataclass(frozen=True)
class LogPsi:
    """`(params, electrons) -> log psi` for a batch of configurations.

    Args:
        psi: A flax module, electrons -> (sign, log |psi|), or a function `Psi`.
        is_complex: Whether the sign is a phase; its angle is the imaginary part of log psi then.
        nuclei: Positions of the nuclei in bohr, see `with_nuclei`; None for those of the molecule.
    """

    psi: nn.Module | Psi
    is_complex: bool = False
    nuclei: Float[Array, "n_nuclei 3"] | None = dataclasses.field(default=None, compare=False)
    moved: object = dataclasses.field(default=None, init=False)
    """Tells wave functions with nuclei of their own apart, so that no program is taken for that of
    another."""

    @property
    def one_particle(self) -> Any:
        """The `OneParticleUpdate` of `psi`, if it has one as its attribute of this name."""
        return getattr(self.psi, "one_particle", None)

    def one(self, params: PyTree, electrons: Float[Array, "n_electrons 3"]) -> tuple[Array, Array]:
        """Sign and log |psi| of one configuration."""
        given: dict[str, Any] = {} if self.nuclei is None else {"nuclei": self.nuclei}
        if isinstance(self.psi, nn.Module):
            found: Any = self.psi.apply({"params": params}, electrons, **given)
            return found
        function: Any = self.psi
        return function(params, electrons, **given)

    def with_nuclei(self, nuclei: Float[Array, "n_nuclei 3"]) -> "LogPsi":
        """The same wave function with its nuclei at other places, in bohr; see `takes_nuclei`."""
        return self._with(nuclei, object())

    def _with(self, nuclei: Any, moved: object) -> "LogPsi":
        other = dataclasses.replace(self, nuclei=nuclei)
        object.__setattr__(other, "moved", moved)
        return other

    def tree_flatten(self) -> tuple[tuple[Any], "LogPsi"]:
        """The positions of the nuclei, and the rest."""
        return (self.nuclei,), self._with(None, self.moved)

    @classmethod
    def tree_unflatten(cls, rest: "LogPsi", nuclei: tuple[Any]) -> "LogPsi":
        """The inverse of `tree_flatten`."""
        return rest._with(*nuclei, rest.moved)

    @in_full_precision
    def sign_and_log(
        self, params: PyTree, electrons: Float[Array, "n n_electrons 3"]
    ) -> tuple[Inexact[Array, " n"], Float[Array, " n"]]:
        """Signs and log |psi| of a batch."""
        if len(electrons) == 1:  # without `vmap`, in which layers of the model cannot be seen
            sign, log = self.one(params, electrons[0])
            return sign[None], log[None]
        return jax.vmap(self.one, in_axes=(None, 0))(params, electrons)

    def __call__(
        self, params: PyTree, electrons: Float[Array, "n n_electrons 3"]
    ) -> Inexact[Array, " n"]:
        """Log psi of a batch; log |psi| alone for real wave functions."""
        sign, log = self.sign_and_log(params, electrons)
        return jax.lax.complex(log, jnp.angle(sign).astype(log.dtype)) if self.is_complex else log


def nuclei_of(
    log_psi: object, molecule: Molecule, dtype: np.dtype | type
) -> Float[Array, "n_nuclei 3"]:
    """Where the nuclei of a wave function are, in bohr: its own, or else those of the molecule."""
    nuclei = log_psi.nuclei if isinstance(log_psi, LogPsi) else None
    return jnp.asarray(molecule.coordinates if nuclei is None else nuclei, dtype)


def takes_nuclei(log_psi: object) -> bool:
    """Whether a wave function has an argument `nuclei`, for positions other than the molecule's."""
    if not isinstance(log_psi, LogPsi):
        return False
    psi = log_psi.psi
    call: Any = type(psi).__call__ if isinstance(psi, nn.Module) else psi
    try:
        return "nuclei" in inspect.signature(call).parameters
    except (TypeError, ValueError):  # nothing is known of its arguments
        return False


def wave_function(psi: nn.Module | Psi, params: PyTree, n_electrons: int, dtype: str) -> LogPsi:
    """The wave function `psi`, checked on one configuration.

    A single-precision one is warned of where coordinates are in double precision.

    Args:
        psi: A flax module or a function, see `LogPsi`.
        params: Its parameters.
        n_electrons: Number of electrons.
        dtype: Of their coordinates.

    Raises:
        TypeError: If it is neither, or does not return a sign and a logarithm.
    """
    if isinstance(psi, type) or not callable(psi):
        shown = f"the class {psi.__name__}" if isinstance(psi, type) else repr(psi)
        raise TypeError(
            "wavefunction must be a flax module such as FermiNet(molecule), or a function (params, "
            f"electrons) -> (sign, log |psi|), but {shown} was given."
        )
    made = LogPsi(psi)
    electrons = jax.ShapeDtypeStruct((n_electrons, 3), jnp.dtype(dtype))
    found = jax.eval_shape(made.one, params, electrons)
    is_pair = isinstance(found, tuple | list) and len(found) == 2
    if not is_pair or any(getattr(part, "shape", None) != () for part in found):
        raise TypeError(
            "wavefunction must return (sign, log |psi|), two numbers, for electrons of the shape "
            f"({n_electrons}, 3), but it returned {found!r}."
        )
    if jnp.issubdtype(found[1].dtype, jnp.complexfloating):
        raise TypeError("wavefunction must return log |psi| as a real number, beside its sign.")
    if dtype == "float64" and found[1].dtype != jnp.float64:
        name = type(psi).__name__ if isinstance(psi, nn.Module) else "the function"
        line = f"; give it the type too: {name}(molecule, dtype=jnp.float64)"
        _logger.warning(
            "The coordinates are float64, but %s computes in %s%s.", name, found[1].dtype,
            line if isinstance(psi, nn.Module) else "",
        )  # fmt: skip
    return LogPsi(psi, jnp.issubdtype(found[0].dtype, jnp.complexfloating))
