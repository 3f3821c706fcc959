"""Drivers with a precision of their own."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from ritz.driver.compiled import CompiledDriver
from ritz.driver.run_state import Steps


class OwnPrecision(CompiledDriver):
    """Runs in float32 or float64, and on devices of its own, whatever precision and mesh are set.

    A subclass sets `dtype` first.
    """

    dtype: str
    """Type of the driver's numbers, "float64" or "float32"."""

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        """Context in which JAX computes in the driver's precision, on no devices but its own."""
        return own_precision(self.dtype)

    def around(self, steps: Steps) -> Steps:
        """Take the steps in the driver's precision; code of the user in between keeps JAX's own."""
        try:
            while True:
                with self._precision():
                    try:
                        info = next(steps)
                    except StopIteration:
                        return
                yield info
        finally:
            with self._precision():
                steps.close()


def own_precision(dtype: str) -> contextlib.AbstractContextManager[object]:
    """Context in which JAX computes in a precision, and on no devices but those of the arrays.

    NetKet sets a mesh of all devices for the whole process when it is imported, and JAX refuses
    to divide arrays among fewer of them then.

    Args:
        dtype: "float64" or "float32".
    """
    precision = jax.enable_x64(dtype == "float64")
    return precision if jax.sharding.get_abstract_mesh().empty else _without_mesh(precision)


@contextlib.contextmanager
def _without_mesh(precision: contextlib.AbstractContextManager[object]) -> Iterator[None]:
    with precision, jax.set_mesh(Mesh(np.empty((), object), ())):
        yield
