"""Configurations of other runs, from their folders."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from ritz.cli.domain_parser import subparser
from ritz.cli.run_folder import RunFolder

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
