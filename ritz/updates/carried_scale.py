"""Factors of a driver's steps that callbacks set, and carries hold as arrays."""

import contextlib
import inspect
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jaxtyping import Array, Float

from ritz.driver.own_precision import OwnPrecision

if TYPE_CHECKING:
    from ritz.driver.abstract import AbstractDriver


class CarriedScale:
    """A factor of a driver, as `rate_scale`: a number to read and set, and an array for the carry.

    It is 1 until it is set.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, driver: "AbstractDriver | None", owner: type | None = None) -> float:
        return 1.0 if driver is None else float(self.array(driver))

    def __set__(self, driver: "AbstractDriver", scale: float) -> None:
        driver._refuse_deferred(f"set driver.{self._name}")
        self._store(driver, scale)

    def array(self, driver: "AbstractDriver") -> Float[Array, ""]:
        """The factor, for the carry."""
        if self._name not in vars(driver):
            self._store(driver, 1.0)
        return vars(driver)[self._name]

    def _store(self, driver: "AbstractDriver", scale: float) -> None:
        own = isinstance(driver, OwnPrecision)
        with driver._precision() if own else contextlib.nullcontext():
            vars(driver)[self._name] = jnp.asarray(scale, float)


def scale_array(driver: "AbstractDriver", name: str) -> Float[Array, ""]:
    """A `CarriedScale` of a driver as an array for its carry."""
    return inspect.getattr_static(type(driver), name).array(driver)
