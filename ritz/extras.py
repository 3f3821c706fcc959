"""Optional packages, and the extras of Ritz that install them."""

_EXTRAS = {
    "netket": "lattice",
    "threadpoolctl": "lattice",
    "folx": "molecule",
    "pyscf": "molecule",
    "ase": "relax",
    "vesin": "relax",
    "pandas": "mlip",
    "flax": "mlip",
    "e3nn_jax": "equivariant",
    "matplotlib": "plot",
    "bokeh": "report",
    "jinja2": "report",
    "h5py": "hdf5",
    "tensorboardX": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "orbax": "checkpoint",
    "jsonargparse": "cli",
    "yaml": "cli",
    "shtab": "cli",
    "dask": "sweep",
    "distributed": "sweep",
    "dask_jobqueue": "sweep",
    "optuna": "sweep",
}
"""The top-level module -> the extra that has it, where the importing module says no other."""


def needed_extra(module: str | None) -> str | None:
    """The extra that installs `module`, such as "ritz[hdf5]"; None for other packages."""
    extra = _EXTRAS.get((module or "").partition(".")[0])
    return None if extra is None else f"ritz[{extra}]"


class MissingExtra(ModuleNotFoundError):
    """A package is missing that an extra of Ritz installs; the message has the line to type."""


class needs:
    """Names the extra where a package is missing: `with needs("HDF5Log"): import h5py`.

    Args:
        what: What needs the package, the beginning of the message.
        extra: The extra to install; by default the one that is for the package.

    Raises:
        MissingExtra: On leaving; missing modules of other packages pass as they are.
    """

    def __init__(self, what: str, extra: str | None = None):
        self.what, self.extra = what, extra

    def __enter__(self) -> None:
        """Enter the context, which holds nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        """Replace an ImportError of a missing extra by one that names the extra."""
        if not isinstance(error, ModuleNotFoundError) or isinstance(error, MissingExtra):
            return
        known = needed_extra(error.name)
        if known is None:
            return
        install = known if self.extra is None else f"ritz[{self.extra}]"
        package = (error.name or "").partition(".")[0]
        raise MissingExtra(
            f"{self.what} needs {package}: pip install '{install}' ({error})", name=error.name
        ) from error
