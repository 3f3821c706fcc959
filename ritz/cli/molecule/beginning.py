"""States with which a training begins where that of another geometry has ended."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ritz.cli.molecule.build import Builder
from ritz.cli.molecule.config import MoleculeRun
from ritz.cli.saved_configuration import configuration_in, driver_trained_in
from ritz.molecule.estimators.space_warp import warp_weights
from ritz.molecule.molecule import Molecule


def state_from(folder: str, builder: Builder) -> Any:
    """The trained state of another run; its electrons follow the nuclei near them to their places.

    Args:
        folder: The run folder of the other.
        builder: Of this run.

    Raises:
        ValueError: If there is no trained run, or it has other atoms, electrons, states or another
            network.
    """
    other = Builder(configuration_in(MoleculeRun, "molecule", folder))
    own, theirs = builder.molecule, other.molecule
    _check_same(folder, own, theirs, builder.run.n_states, other.run.n_states)
    stage: Any = other.train()
    state = stage.state_of(driver_trained_in(folder, stage))
    here: Any = builder.train()
    _check_parameters(folder, here.create_state(jax.random.key(0)).params, state.params)
    return state._replace(batched_data=_moved(state.batched_data, theirs, own))


def _check_same(folder: str, own: Molecule, theirs: Molecule, n_own: int, n_theirs: int) -> None:
    kinds = [
        ("atoms", *(" ".join(m.symbols) for m in (own, theirs))),
        ("electrons", *(f"{m.n_up} up, {m.n_down} down" for m in (own, theirs))),
        ("states", n_own, n_theirs),
    ]
    for what, here, there in kinds:
        if here != there:
            raise ValueError(
                f"{folder} has other {what} ({there}) than this run ({here}); begin with a run of "
                "another geometry of the same molecule."
            )


def _check_parameters(folder: str, own: Any, theirs: Any) -> None:
    shapes = [jax.tree.map(jnp.shape, params) for params in (own, theirs)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"the network of {folder} has parameters of other shapes than that of this run; give "
            "the same preset or network."
        )


def _moved(electrons: Any, theirs: Molecule, own: Molecule) -> Any:
    """Walkers of any number of axes, each electron moved with the nuclei near it."""
    old, new = (np.asarray(m.positions) for m in (theirs, own))
    if np.array_equal(old, new):
        return electrons
    with jax.enable_x64(True):
        x = jnp.asarray(electrons, float).reshape(-1, *electrons.shape[-2:])
        moved = jax.vmap(lambda one: one + warp_weights(one, jnp.asarray(old)) @ (new - old))(x)
        return moved.reshape(electrons.shape).astype(electrons.dtype)
