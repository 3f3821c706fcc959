"""Parameters with which a training begins where another run has ended."""

import logging
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, Key, PyTree

from ritz.checkpoint import CheckpointError, load
from ritz.cli.lattice.build import Builder
from ritz.cli.lattice.config import LatticeRun
from ritz.cli.saved_configuration import configuration_in
from ritz.wording import counted

_logger = logging.getLogger("ritz")


def parameters_from(folder: str, builder: Builder, key: Key[Array, ""]) -> PyTree:
    """The trained parameters of another run, grown where this one is larger.

    Args:
        folder: The run folder of the other.
        builder: Of this run.
        key: A random key for what is new.

    Raises:
        TypeError: If models of such classes cannot grow.
        ValueError: If there is no trained run, or it does not fit.
    """
    from ritz.lattice.models import grown

    small = Builder(configuration_in(LatticeRun, "lattice", folder))
    stage: Any = small.train()
    driver = stage.driver(stage.create_state(jax.random.key(0)), jax.random.key(0))
    try:
        step = load(Path(folder) / "checkpoints" / "train", driver)
    except CheckpointError as error:
        raise ValueError(f"no trained wave function can be read from {folder} ({error})") from error
    _logger.info("Beginning with %s after %s of training.", folder, counted(step, "step"))
    params, hilbert = driver.snapshot_parameters(), builder.system.hilbert
    if small.model == builder.model and small.system.hilbert.size == hilbert.size:
        return params
    return grown(params, small.model, builder.model, hilbert.size, key)
