"""Products of matrices in the full precision of their numbers, on every device."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_full_precision(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function of JAX, also one that is being compiled, multiply float32 as float32.

    On GPUs and TPUs JAX would round the factors to the 10 bits of TF32 or the 7 of bfloat16:
    Gram matrices and local energies are wrong in their fourth digit then. What the user has set
    (`jax_default_matmul_precision`) is kept. On CPUs nothing changes.
    """

    @functools.wraps(function)
    def full(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if jax.config.jax_default_matmul_precision is not None:  # type: ignore[attr-defined]
            return function(*args, **kwargs)
        with jax.default_matmul_precision("highest"):
            return function(*args, **kwargs)

    return full
