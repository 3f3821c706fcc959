"""Types of the parameters of wave functions."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def check_param_dtype(param_dtype: Any, *, takes_complex: bool) -> None:
    """Refuse types that parameters of a wave function cannot have.

    Args:
        param_dtype: What was given.
        takes_complex: Whether parameters may be complex.

    Raises:
        TypeError: If it is no type of floating-point numbers, or complex where it must be real.
    """
    allowed, hint = "a real type, such as float or jax.numpy.float32", ""
    try:
        kind: Any = None if param_dtype is None else np.dtype(param_dtype)
    except TypeError:
        kind = None
    is_complex = kind is not None and jnp.issubdtype(kind, jnp.complexfloating)
    if takes_complex:
        allowed = "a real or complex type, such as float or complex"
    elif is_complex:
        hint = "; for a complex log psi give complex_output=True"
    if kind is None or not (jnp.issubdtype(kind, jnp.floating) or (is_complex and takes_complex)):
        shown = getattr(param_dtype, "__name__", repr(param_dtype))
        raise TypeError(f"param_dtype must be {allowed}, but {shown} was given{hint}.")
