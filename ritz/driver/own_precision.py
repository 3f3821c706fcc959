"""Drivers with a precision of their own."""

import contextlib

import jax

from ritz.driver.compiled import CompiledDriver
from ritz.driver.run_state import Steps


class OwnPrecision(CompiledDriver):
    """Runs in float32 or float64, whatever is set in JAX; a subclass sets `dtype` first."""

    dtype: str
    """Type of the driver's numbers, "float64" or "float32"."""

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        """Context in which JAX computes in the driver's precision."""
        return jax.enable_x64(self.dtype == "float64")

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
