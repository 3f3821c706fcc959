"""The energy of pseudopotentials, local and semi-local."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Key, PyTree
from typing_extensions import override

from ritz.checks import check_count
from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, Values, in_double
from ritz.estimators.base import LogPsi as AnyLogPsi
from ritz.molecule.estimators.potential import SHORTEST
from ritz.molecule.estimators.sphere import EXACT_UP_TO, legendre, quadrature, rotation
from ritz.molecule.molecule import Molecule, check_molecule
from ritz.molecule.networks.features import norm
from ritz.molecule.pseudopotentials import Pseudopotential, radial, reach
from ritz.molecule.wavefunction import LogPsi, nuclei_of
from ritz.updates.chunks import mapped

TOLERANCE = 1e-3
"""Largest sum_l (2 l + 1) |v_l| in hartree of a core that may be left out as too far away. At the
middle of N2 it is 4e-3; the nearest core alone changes the energy by -1.80(7)e-5 hartree there."""

_AT_ONCE = 2
"""Number of points at which psi of each walker is evaluated at once; more need more than the caches
of CPUs hold, and 12 take 1.3 times as long."""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class PseudopotentialEnergy(AbstractEstimator):
    """Energy of the electrons in pseudopotentials besides -Z/r, in hartree.

    sum_iI v_local(r_iI) + sum_l (2 l + 1) v_l(r_iI) sum_q w_q P_l(cos) psi(r_i -> r_q) / psi, with
    the points r_q of a quadrature on the sphere around core I that goes through electron i, and the
    angle between r_q and r_i (Fahy, Wang and Louie, Phys. Rev. B 42, 3503, 1990; Mitas, Shirley and
    Ceperley, J. Chem. Phys. 95, 3467, 1991). The quadrature is rotated at random for each electron
    and configuration, so that its mean is exact; the rotation follows from the bits of the
    coordinates alone, and the same configuration has the same energy always. This costs n_electrons
    times n_nearest times n_points evaluations of psi, which must be a `LogPsi`, as it is unless it
    was wrapped: signs are needed.

    Args:
        molecule: The molecule.
        n_points: Number of points of the quadrature: 6, 12, 18, 26 or 50, exact for spherical
            harmonics up to l = 3, 5, 5, 7 and 11.
        n_nearest: Number of cores with angular momenta that are taken for each electron, the
            nearest ones; by default the smallest number with which all those left out have
            sum_l (2 l + 1) |v_l| <= 1e-3 hartree at the electron, wherever it is.
        chunk_size: Number of walkers treated at once; None for all.

    Raises:
        ValueError: If a setting is not allowed.
    """

    molecule: Molecule
    n_points: int = 12
    n_nearest: int | None = None
    chunk_size: int | None = None

    def __post_init__(self) -> None:
        check_molecule(self.molecule)
        if self.n_points not in EXACT_UP_TO:
            raise ValueError(
                f"n_points must be one of {', '.join(map(str, EXACT_UP_TO))}, but "
                f"{self.n_points!r} was given."
            )
        for name in ("n_nearest", "chunk_size"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), 1)

    @property
    def n_cores(self) -> int:
        """Number of cores that are taken for each electron, with the nuclei where they are."""
        cores = _semi_local(self.molecule)
        if self.n_nearest is not None:
            return min(self.n_nearest, len(cores))
        return _enough([(self.molecule.positions[place], core) for place, core in cores])

    def _n_taken(self, log_psi: LogPsi) -> int:
        """Number of cores that are taken; all of them, by default, where nuclei move."""
        still = log_psi.nuclei is None or self.n_nearest is not None
        return self.n_cores if still else len(_semi_local(self.molecule))

    @override
    def evaluate(
        self,
        log_psi: AnyLogPsi,
        params: PyTree,
        samples: Float[Array, "n_samples n_electrons 3"],
        values: Mapping[str, Values],
    ) -> Inexact[Array, " n_samples"]:
        nuclei = nuclei_of(log_psi, self.molecule, samples.dtype)
        local = self._local(samples, nuclei)
        if self.n_cores == 0:
            return local
        if not isinstance(log_psi, LogPsi):
            raise TypeError(
                "PseudopotentialEnergy needs the sign of psi, which a function log psi of real "
                f"numbers does not tell; it takes a ritz.molecule.LogPsi, but got {log_psi!r}."
            )

        def one(electrons: Float[Array, "n_electrons 3"]) -> Array:
            return self._angular(log_psi, params, electrons, nuclei)

        return local + mapped(one, samples, self.chunk_size)

    def _local(
        self, samples: Float[Array, "n_samples n_electrons 3"], nuclei: Float[Array, "n_nuclei 3"]
    ) -> Array:
        """v_local of all electrons and cores."""
        total = jnp.zeros(len(samples), jnp.result_type(float))
        for place, core in zip(nuclei, self.molecule.cores, strict=True):
            if core is not None:
                distances = in_double(norm(samples - place))
                at = radial(core.local, jnp.maximum(distances, SHORTEST))
                total = total + jnp.sum(at, axis=1)
        return total

    def _angular(
        self,
        log_psi: LogPsi,
        params: PyTree,
        electrons: Float[Array, "n_electrons 3"],
        nuclei: Float[Array, "n_nuclei 3"],
    ) -> Array:
        """The parts of each angular momentum for one configuration, point after point."""
        cores = _semi_local(self.molecule)
        places = nuclei[np.array([place for place, _ in cores])]
        vectors = in_double(electrons[:, None] - places)
        strengths = _strengths([core for _, core in cores], norm(vectors))
        nearest = jnp.argsort(norm(vectors), axis=1)[:, : self._n_taken(log_psi)]
        rows = jnp.arange(len(electrons))[:, None]
        vectors, strengths = vectors[rows, nearest], strengths[rows, nearest]
        r = norm(vectors)[..., None]
        # Any direction will do on a core, where all points are one.
        units = jnp.where(r > 0, vectors / jnp.where(r > 0, r, 1), jnp.eye(3, dtype=r.dtype)[2])
        normals = jax.random.normal(key_of(electrons), (*nearest.shape, 4), r.dtype)
        turns = jnp.vectorize(rotation, signature="(k)->(i,j)")(normals)
        directions, weights = (jnp.asarray(x, r.dtype) for x in quadrature(self.n_points))
        turned = jnp.einsum("ncij,qj->ncqi", turns, directions)
        cosines = jnp.einsum("ncqi,nci->ncq", turned, units)
        factors = weights * sum(
            strengths[..., k, None] * legendre(k, cosines) for k in range(strengths.shape[-1])
        )
        points = in_double(places[nearest])[:, :, None] + r[..., None] * turned
        movers = jnp.broadcast_to(rows[..., None], factors.shape)
        sign, log = (x[0] for x in log_psi.sign_and_log(params, electrons[None]))

        def ratio(move: tuple[Array, Array]) -> Array:
            i, place = move
            there = electrons.at[i].set(place)
            signs, logs = log_psi.sign_and_log(params, there[None])
            return signs[0] * jnp.conj(sign) * jnp.exp(in_double(logs[0] - log))

        moves = movers.ravel(), points.reshape(-1, 3).astype(electrons.dtype)
        ratios = jax.lax.map(ratio, moves, batch_size=_AT_ONCE)
        return jnp.sum(factors.ravel() * ratios)


def key_of(electrons: Float[Array, "n_electrons 3"]) -> Key[Array, ""]:
    """A random key made of the bits of the coordinates, the same on every machine.

    Two polynomials in their 32-bit words, modulo 2^32, give the 64 bits of the key.
    """
    words = jax.lax.bitcast_convert_type(electrons, jnp.uint32).ravel()
    # Odd multipliers with well-mixed bits: those of the golden ratio and of MurmurHash3.
    bases = 0x9E3779B1, 0x85EBCA6B
    powers = np.array([[pow(b, k + 1, 2**32) for k in range(len(words))] for b in bases], np.uint32)
    mixed = words ^ (words >> 15)
    halves = jnp.sum(jnp.asarray(powers) * mixed, axis=1, dtype=jnp.uint32)
    return jax.random.wrap_key_data(halves, impl="threefry2x32")


def _semi_local(molecule: Molecule) -> list[tuple[int, Pseudopotential]]:
    """Places and pseudopotentials of the cores that have parts of each angular momentum."""
    pairs = enumerate(molecule.cores)
    return [(place, core) for place, core in pairs if core is not None and any(core.channels)]


def _strengths(
    cores: list[Pseudopotential], distances: Float[Array, "n_electrons n_cores"]
) -> Float[Array, "n_electrons n_cores n_momenta"]:
    """(2 l + 1) v_l at each electron."""
    n_momenta = max(len(core.channels) for core in cores)
    columns = [
        jnp.stack(
            [
                (2 * k + 1) * radial(core.channels[k] if k < len(core.channels) else (), r)
                for k in range(n_momenta)
            ],
            axis=-1,
        )
        for core, r in zip(cores, distances.T, strict=True)
    ]
    return jnp.stack(columns, axis=1)


def _enough(cores: list[tuple[tuple[float, float, float], Pseudopotential]]) -> int:
    """The smallest number of nearest cores with which the others are too far away to matter.

    If a core is left out, k others are at most as far from the electron, so the k-th nearest core
    to it is within twice its distance from the electron.
    """
    places = np.array([place for place, _ in cores]).reshape(-1, 3)
    between = np.sort(np.linalg.norm(places[:, None] - places, axis=-1), axis=1)
    reaches = np.array([reach(core, TOLERANCE) for _, core in cores])
    for k in range(1, len(cores)):
        if np.all(between[:, k] / 2 >= reaches):
            return k
    return len(cores)
