"""Puts the version of the package beside the name of the site."""

import tomllib
from pathlib import Path


def on_config(config):
    """Appends the version in pyproject.toml to the site's name."""
    project = tomllib.loads((Path(config.config_file_path).parent / "pyproject.toml").read_text())
    config.site_name += " " + project["project"]["version"]
    return config
