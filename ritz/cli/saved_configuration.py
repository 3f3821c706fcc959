"""Configurations and trained states of other runs, from their folders."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, TypeVar

import jax

from ritz.checkpoint import CheckpointError, load
from ritz.cli.domain_parser import subparser
from ritz.cli.run_folder import RunFolder
from ritz.wording import counted

_logger = logging.getLogger("ritz")

Configuration = TypeVar("Configuration")


def configuration_in(kind: type[Configuration], domain: str, folder: str | Path) -> Configuration:
    """The configuration of the run in a folder.

    Args:
        kind: The dataclass of the domain's configurations.
        domain: The domain, such as "lattice".
        folder: The run folder.

    Raises:
        ValueError: If there is none, it is that of another domain, or it cannot be read.
    """
    saved = RunFolder(folder)
    saved.check_domain(domain)
    content = saved.config
    if content is None:
        raise ValueError(f"there is no run in {folder}.")
    parser = subparser("")
    parser.add_class_arguments(kind)
    made: Any = parser.instantiate(parser.parse_object(content))
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    return kind(**{field.name: made[field.name] for field in fields})


def driver_trained_in(folder: str | Path, stage: Any) -> Any:
    """A driver with what the training in a folder has saved, to begin another one with.

    Args:
        folder: The run folder.
        stage: The stage of that training.

    Raises:
        ValueError: If nothing is saved there, or it cannot be read.
    """
    driver = stage.driver(stage.create_state(jax.random.key(0)), jax.random.key(0))
    try:
        step = load(Path(folder) / "checkpoints" / "train", driver)
    except CheckpointError as error:
        raise ValueError(f"no trained wave function can be read from {folder} ({error})") from error
    _logger.info("Beginning with %s after %s of training.", folder, counted(step, "step"))
    return driver
