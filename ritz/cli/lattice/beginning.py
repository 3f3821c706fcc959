"""Parameters with which a training begins where another run has ended."""

from jaxtyping import Array, Key, PyTree

from ritz.cli.lattice.build import Builder
from ritz.cli.lattice.config import LatticeRun
from ritz.cli.saved_configuration import configuration_in, driver_trained_in


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
    driver = driver_trained_in(folder, small.train())
    params, hilbert = driver.snapshot_parameters(), builder.system.hilbert
    if small.model == builder.model and small.system.hilbert.size == hilbert.size:
        return params
    return grown(params, small.model, builder.model, hilbert.size, key)
