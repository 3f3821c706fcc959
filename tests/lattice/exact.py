"""Matrices of operators, by one compiled program each."""

import jax
import numpy as np


@jax.jit
def connected(operator, x):
    return operator.get_conn_padded(x)


def dense(operator):
    """The matrix, from one compiled program."""
    x = np.asarray(operator.hilbert.all_states())
    y, elements = jax.device_get(connected(operator.to_jax_operator(), x))
    number = {row.tobytes(): i for i, row in enumerate(x)}
    found = np.zeros((len(x), len(x)), complex)
    for i, (rows, values) in enumerate(zip(y.astype(x.dtype), elements, strict=True)):
        for row, value in zip(rows, values, strict=True):
            if value != 0:
                found[i, number[row.tobytes()]] += value
    return found
