"""`ritz mlip`: names of optimisers that are missing, or cannot be used with batches."""

import pytest

from tests.cli.mlip.runs import SMALL
from tests.mlip.systems import DATA


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("Adma", "there is no 'Adma' in ritz.mlip, optax; did you mean Adam or "),
        ("bfgs", "there is no 'bfgs' in ritz.mlip, optax; it needs a line search, which cannot be"),
        ("LM", "there is no 'LM' in ritz.mlip, optax; Levenberg-Marquardt takes all structures"),
        ("online_sd", "there is no 'online_sd' in ritz.mlip, optax; give SGD, with lr and"),
        ("lbfgs", "this optimiser needs more than the gradient (value, grad, and value_fn), as"),
    ],
)
def test_other_methods_are_told_in_a_line(ritz, method, told):
    files = f"data.train=[{DATA}/*.xsf]"
    status, _, error = ritz(*SMALL, files, "folder=r", f"train.method={method}", "--dry_run")
    assert status == 2 and error.startswith(f"ritz: train.method: {told}"), error
    assert error.count("\n") == 1
