"""NetKet's operators inside compiled programs: local energies and full sums."""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import netket as nk
import numpy as np
from jax.experimental.sparse import BCOO, JAXSparse
from jaxtyping import Array, Inexact, PyTree
from netket.hilbert import AbstractHilbert
from netket.observable import AbstractObservable
from netket.operator import AbstractOperator, ContinuousOperator, DiscreteJaxOperator

from ritz.driver.blocks.block import barrier
from ritz.lattice.flips import Flips
from ritz.lattice.space import inside, is_constrained, some_states
from ritz.types import Row

LogPsi = Callable[[PyTree, Array], Array]


def traceable(operator: Any, hilbert: AbstractHilbert) -> AbstractOperator:
    """`operator` in a form that works inside `jit`.

    Raises:
        ValueError: If it acts on another space than `hilbert`.
        TypeError: If it has no such form, or is not an operator.
    """
    check_operator(operator)
    check_space(operator, hilbert)
    if not isinstance(operator, AbstractOperator):
        raise TypeError(
            f"{type(operator).__name__} is no operator, and not estimated in compiled steps; "
            + (
                "the V-score of the energy is in each row, as v_score."
                if isinstance(operator, nk.observable.VScore)
                else "give it to `obs` of `run`, which estimates it as NetKet does."
            )
        )
    if not isinstance(operator, DiscreteJaxOperator | ContinuousOperator):
        convert = getattr(operator, "to_jax_operator", None)
        if convert is None:
            raise TypeError(
                f"{type(operator).__name__} cannot be used inside compiled code; give an operator "
                "of netket.operator that has a JAX form, such as IsingJax or PauliStringsJax."
            )
        operator = convert()
    if isinstance(operator, DiscreteJaxOperator):
        # Some operators build their tables at first use, which must not happen inside a trace.
        x: Any = some_states(hilbert, 8 if is_constrained(hilbert) else 1)
        connected, elements = operator.get_conn_padded(x)
        _check_closed(operator, hilbert, np.asarray(x), np.asarray(connected), np.asarray(elements))
    return operator


def check_space(operator: object, hilbert: AbstractHilbert) -> None:
    """Refuse an operator of another space.

    Raises:
        ValueError: If it acts on another space than `hilbert`.
    """
    if getattr(operator, "hilbert", None) != hilbert:
        raise ValueError(
            f"the operator acts on {getattr(operator, 'hilbert', None)}, but the state lives on "
            f"{hilbert}; build both on the same Hilbert space."
        )


def check_operator(operator: object) -> None:
    """Refuse objects that are not operators of NetKet.

    Raises:
        TypeError: With what to use for functions.
    """
    if isinstance(operator, AbstractObservable):
        return
    instead = "; "
    if callable(operator):
        instead = (
            "; for a function of the state use a callback, such as ritz.callbacks.LambdaCallback("
            "before_parameter_update=lambda step, log_data, driver: log_data.update(name=...)); "
        )
    raise TypeError(
        f"operators of NetKet are taken, but {operator!r} was given{instead}operators are made "
        "with netket.operator, for example netket.operator.spin.sigmaz(hilbert, 0)."
    )


def check_weighted(observable: AbstractObservable) -> None:
    """Refuse observables of NetKet whose local values are not known to be those of samples.

    Raises:
        TypeError: If it is no operator.
    """
    if not isinstance(observable, AbstractOperator):
        raise TypeError(
            f"{type(observable).__name__} is estimated by NetKet from samples of |psi|^2 only; "
            "sample with machine_pow=2."
        )


def _check_closed(
    operator: AbstractOperator,
    hilbert: AbstractHilbert,
    x: np.ndarray,
    connected: np.ndarray,
    elements: np.ndarray,
) -> None:
    """Refuse matrix elements that are not finite, or lead from the space `x` belong to out of it.

    Raises:
        ValueError: If there are such.
    """
    if not np.all(np.isfinite(elements)):
        raise ValueError(
            f"{operator!r} has matrix elements that are not finite numbers; check its couplings."
        )
    if not is_constrained(hilbert):
        return
    leading = (elements != 0) & ~inside(hilbert, connected)
    scale = np.abs(elements).max()
    for row, number in zip(*np.nonzero(leading), strict=True):
        target = connected[row, number]
        same = np.all(connected[row] == target, axis=-1)
        if abs(elements[row][same].sum()) > 1e-12 * scale:  # terms may cancel
            raise ValueError(
                f"{operator!r} leads out of {hilbert}, for example from {x[row].tolist()} to "
                f"{target.tolist()}, so that its expectation values from samples would be wrong; "
                "take a space without the constraint, or an operator that keeps it."
            )


def fingerprint(operator: AbstractOperator) -> str:
    """A text that differs, as far as possible, for operators with different matrix elements."""
    kind = " ".join(repr(operator).split())
    if not isinstance(operator, DiscreteJaxOperator):
        return kind
    some = operator.hilbert.random_state(jax.random.key(0), 8)
    connected, elements = (np.asarray(x) for x in operator.get_conn_padded(some))
    seen = np.where(np.abs(elements[..., None]) > 1e-12, connected, 0)
    digest = hashlib.sha256(np.round(elements, 10).tobytes() + seen.astype(float).tobytes())
    return f"{kind} {digest.hexdigest()[:12]}"


def sparse_matrix(operator: Any) -> JAXSparse:
    """The matrix of a discrete operator, for products with vectors inside compiled programs."""
    matrix = operator.to_sparse()
    return matrix if isinstance(matrix, JAXSparse) else BCOO.from_scipy_sparse(matrix)


def local_energies(
    log_psi: LogPsi,
    variables: PyTree,
    samples: Inexact[Array, "n_samples n_sites"],
    operator: Any,
    chunk_size: int | None,
    flips: Flips | None = None,
) -> Inexact[Array, " n_samples"]:
    """sum_y <x|H|y> psi(y) / psi(x) for each sample x.

    Args:
        log_psi: `(variables, samples) -> log psi`, for a batch.
        variables: First argument of `log_psi`.
        samples: The configurations.
        operator: From `traceable`.
        chunk_size: Number of configurations passed to `log_psi` at once; None for all samples, and
            for as many of the configurations connected to them as suits.
        flips: The operator with a model's local update, which takes the place of `log_psi`.
    """
    if flips is not None:
        size = None if chunk_size is None else max(1, chunk_size // flips.operator.n_connected)
        return in_chunks(lambda x: flips.local_energies(variables, x), samples, size)
    if isinstance(operator, ContinuousOperator):

        def of_batch(x: Array) -> Array:
            values: Any = operator._expect_kernel(log_psi, variables, x)
            return values

        size = chunk_size
    else:
        n_connected = jax.eval_shape(operator.get_conn_padded, samples)[1].shape[-1]

        def of_batch(x: Array) -> Array:
            connected, elements = operator.get_conn_padded(x)
            own = in_chunks(lambda y: log_psi(variables, y), x, chunk_size)
            values = _where_needed(
                log_psi=lambda y: log_psi(variables, y),
                connected=connected,
                elements=elements,
                x=x,
                own=own,
                chunk_size=chunk_size or _connected_chunk(),
            )
            return jnp.sum(elements * jnp.exp(values - own[:, None]), axis=-1)

        size = None if chunk_size is None else max(1, _CHUNKS * chunk_size // n_connected)
    return in_chunks(of_batch, samples, size)


_CHUNKS = 16
"""Number of chunks of connected configurations held at once."""

_CONNECTED_ON_CPU, _CONNECTED = 4096, 131072
"""Number of connected configurations evaluated at once where none is given: on CPUs few enough to
stay in the cache (for a residual network of 16 sites 2,048 to 4,096 are fastest, and all 33,000 at
once take twice as long for the same number)."""


def _connected_chunk() -> int | None:
    """Number of connected configurations evaluated at once by default; None for all.

    All on several devices, which share the samples.
    """
    if jax.device_count() > 1:
        return None
    return _CONNECTED_ON_CPU if jax.default_backend() == "cpu" else _CONNECTED


def _where_needed(
    log_psi: Callable[[Array], Array],
    connected: Inexact[Array, "n k n_sites"],
    elements: Inexact[Array, "n k"],
    x: Inexact[Array, "n n_sites"],
    own: Inexact[Array, " n"],
    chunk_size: int | None,
) -> Inexact[Array, "n k"]:
    """Log psi of the connected configurations of `x`, for which it is `own`.

    Those with no matrix element, and `x` itself, are not evaluated if there are several chunks:
    in a Heisenberg model that is a third of them.
    """
    flat = connected.reshape(-1, x.shape[-1])
    known = jnp.repeat(own, elements.shape[1])
    n = len(flat)
    if chunk_size is None or n <= chunk_size:
        return log_psi(flat).reshape(elements.shape)
    needed = ((elements != 0) & jnp.any(connected != x[:, None], axis=-1)).ravel()
    # Places of those needed, in order; the rest points beyond the end and is dropped.
    place = jnp.where(needed, jnp.cumsum(needed) - 1, n + chunk_size)
    order = jnp.full(n + chunk_size, n).at[place].set(jnp.arange(n), mode="drop")

    def chunk(i: Array, values: Array) -> Array:
        chosen = jax.lax.dynamic_slice_in_dim(order, i * chunk_size, chunk_size)
        batch = barrier(flat[jnp.minimum(chosen, n - 1)])
        return values.at[chosen].set(barrier(log_psi(batch)), mode="drop")

    n_chunks = -(-jnp.sum(needed) // chunk_size)
    return jax.lax.fori_loop(0, n_chunks, chunk, known).reshape(elements.shape)


def in_chunks(function: Callable[[Array], Array], batch: Array, size: int | None) -> Array:
    """`function(batch)`, computed for at most `size` rows at a time; None for all at once."""
    n_rows = len(batch)
    if size is None or size >= n_rows:
        return function(batch)
    # Chunks of about equal size, so that there is little padding.
    size = -(-n_rows // -(-n_rows // size))
    missing = -n_rows % size
    full = jnp.concatenate([batch, jnp.repeat(batch[:1], missing, axis=0)])
    values = jax.lax.map(function, full.reshape(-1, size, *batch.shape[1:]))
    return values.reshape(-1, *values.shape[2:])[:n_rows]


def exact_statistics(matrix: JAXSparse, psi: Array) -> tuple[nk.stats.Stats, Array]:
    """Exact statistics in a normalised state, and local values, the mean where psi vanishes.

    Args:
        matrix: The operator.
        psi: All amplitudes, normalised.
    """
    product = matrix @ psi
    mean = jnp.vdot(psi, product)
    variance = jnp.sum(jnp.abs(product - mean * psi) ** 2)
    fields: Row = {
        "mean": mean,
        "error_of_mean": jnp.zeros_like(variance),
        "variance": variance,
    }
    empty = psi == 0
    local = jnp.asarray(jnp.where(empty, mean, product / jnp.where(empty, 1, psi)))
    return nk.stats.Stats(**fields), local


def v_score(
    energy: Array | complex, variance: Array | float, n_dof: int, energy_offset: float
) -> Array:
    """N Var(E) / (E - E_inf)^2: zero for an eigenstate, comparable between models.

    Wu et al., Science 386, 296 (2024), arXiv 2302.04919.

    Args:
        energy: <H>.
        variance: <H^2> - <H>^2.
        n_dof: The number of spins, bosonic modes or fermions, N.
        energy_offset: <H> at infinite temperature, E_inf; zero for a traceless H.
    """
    return n_dof * variance / (jnp.real(energy) - energy_offset) ** 2
