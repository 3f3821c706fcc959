"""The state with which a driver of molecules begins: parameters and walkers."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Key, PyTree

from ritz.molecule.molecule import Molecule
from ritz.molecule.multistate.stacking import check_distinct, parameters_by_state, stacked
from ritz.molecule.state import ElectronState
from ritz.molecule.walkers import initial_electrons
from ritz.molecule.wavefunction import LogPsi, Psi, wave_function
from ritz.samplers import AbstractSampler


def first_state(
    molecule: Molecule,
    wavefunction: nn.Module | Psi,
    params: PyTree,
    sampler: AbstractSampler,
    electrons: Float[Array, "*n_states n_walkers n_electrons 3"] | None,
    *,
    n_walkers: int,
    n_states: int,
    dtype: str,
    keys: tuple[Key[Array, ""], Key[Array, ""]],
) -> ElectronState:
    """Parameters and walkers, those that are not given drawn; see `MoleculeDriver`.

    Args:
        molecule: The molecule.
        wavefunction: A flax module or a function.
        params: Parameters, or None.
        sampler: The sampler.
        electrons: Where the walkers begin, or None.
        n_walkers: Number of walkers of each state.
        n_states: Number of states.
        dtype: Type of the coordinates.
        keys: Random keys for parameters and walkers.

    Raises:
        TypeError: If it is no wave function.
        ValueError: If parameters or walkers do not fit, or two states have equal parameters.
    """
    of_params, of_walkers = keys
    if electrons is None:
        random = np.random.default_rng(host_seed(of_walkers))
        drawn = [initial_electrons(molecule, n_walkers, random) for _ in range(n_states)]
        electrons = np.stack(drawn) if n_states > 1 else drawn[0]  # type: ignore[assignment]
    number = jnp.dtype(dtype)
    walkers = shared_out(electrons, molecule, n_walkers, number, n_states)
    if n_states == 1:
        params = first_parameters(wavefunction, params, of_params, walkers[0])
        log_psi = wave_function(wavefunction, params, molecule.n_electrons, dtype)
        sampler_state = sampler.init(of_walkers, log_psi, params, walkers)
        return ElectronState(molecule, log_psi, params, sampler_state)
    given = [None] * n_states if params is None else parameters_by_state(params, n_states)
    of_each = zip(given, jax.random.split(of_params, n_states), strict=True)
    each = [first_parameters(wavefunction, one, key, walkers[0, 0]) for one, key in of_each]
    check_distinct(each)
    log_psi = wave_function(wavefunction, each[0], molecule.n_electrons, dtype)
    of_each = enumerate(zip(jax.random.split(of_walkers, n_states), each, strict=True))
    states = [sampler.init(key, log_psi, one, walkers[n]) for n, (key, one) in of_each]
    sampler_state = stacked(states)._replace(positions=walkers)  # as they are shared out
    return ElectronState(molecule, log_psi, stacked(each), sampler_state, n_states)


def host_seed(key: Array) -> int:
    """A seed for NumPy from a random key."""
    return zlib.crc32(jax.random.key_data(key).tobytes())


def shared_out(
    electrons: Any, molecule: Molecule, n_walkers: int, number: Any, n_states: int = 1
) -> Array:
    """The initial positions, shared out over the devices.

    Raises:
        ValueError: If they have another shape, or cannot be shared out equally.
    """
    expected, names = (n_walkers, molecule.n_electrons, 3), "n_walkers, n_electrons, 3"
    if n_states > 1:
        expected, names = (n_states, *expected), f"n_states, {names}"
    if jnp.shape(electrons) != expected:
        raise ValueError(
            f"electrons must have the shape ({names}) = {expected}, but "
            f"{jnp.shape(electrons)} was given."
        )
    devices = jax.devices()
    if n_walkers % len(devices):
        raise ValueError(
            f"n_walkers={n_walkers} cannot be shared out equally over {len(devices)} devices; give "
            f"{-(-n_walkers // len(devices)) * len(devices)}, for example."
        )
    walkers = jnp.asarray(electrons, number)
    if len(devices) == 1:
        return walkers
    axes = ("walkers",) if n_states == 1 else (None, "walkers")
    sharding = NamedSharding(Mesh(devices, ("walkers",)), PartitionSpec(*axes))
    return jax.device_put(walkers, sharding)


def first_parameters(wavefunction: Any, params: PyTree, key: Array, electrons: Array) -> PyTree:
    """`params`, or those that a flax module draws.

    Raises:
        ValueError: If there are none.
        TypeError: If it is no wave function.
    """
    if params is not None:
        # With a type of their own: what `jnp.asarray(1.7)` gives takes that of what it meets.
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), params)
    if isinstance(wavefunction, nn.Module):
        return jax.jit(wavefunction.init)(key, electrons).get("params", {})
    if isinstance(wavefunction, LogPsi) or callable(wavefunction):
        raise ValueError(
            "params: give the parameters of the wave function; those of flax modules are drawn."
        )
    raise TypeError(
        "wavefunction must be a flax module such as FermiNet(molecule), or a function, but "
        f"{wavefunction!r} was given."
    )
