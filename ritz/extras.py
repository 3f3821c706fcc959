"""Optional packages, and the extras of Ritz that install them."""

from collections.abc import Iterator
from contextlib import contextmanager

_EXTRAS = {
    "netket": "lattice",
    "threadpoolctl": "lattice",
    "ase": "relax",
    "vesin": "relax",
    "pandas": "mlip",
    "flax": "mlip",
    "matplotlib": "plot",
    "h5py": "hdf5",
    "tensorboardX": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "ipywidgets": "notebook",
    "orbax": "checkpoint",
    "jsonargparse": "cli",
    "yaml": "cli",
    "shtab": "cli",
}
"""The top-level module -> the extra that has it, where the importing module says no other."""


def needed_extra(module: str | None) -> str | None:
    """How to install what has `module`, such as "ritz[hdf5]"; None for other packages."""
    extra = _EXTRAS.get((module or "").partition(".")[0])
    return None if extra is None else f"ritz[{extra}]"


@contextmanager
def needs(what: str, extra: str | None = None) -> Iterator[None]:
    """Names the extra where a package is missing within the block.

    Args:
        what: What needs the package, the beginning of the message.
        extra: The extra to install; by default the one that is for the package.

    Yields:
        Nothing.

    Raises:
        ModuleNotFoundError: With the line to type; missing modules of other packages pass as they
            are.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        known = needed_extra(error.name)
        if known is None or "pip install 'ritz[" in str(error):
            raise
        install = known if extra is None else f"ritz[{extra}]"
        raise ModuleNotFoundError(
            f"{what} needs {(error.name or '').partition('.')[0]}: pip install '{install}' "
            f"({error})",
            name=error.name,
        ) from error
