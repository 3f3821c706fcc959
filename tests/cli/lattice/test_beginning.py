"""Trainings that begin with the parameters of another run, and the control of their steps."""

from pathlib import Path

import numpy as np
import pytest

from tests.cli.lattice.runs import SMALL, column, ritz

pytestmark = pytest.mark.netket


@pytest.fixture
def trained(capsys):
    """The folder of a trained chain of four sites."""
    status, _, error = ritz(capsys, "train", *SMALL, "train.full_sum=true", "folder=small")
    assert status == 0, error
    return "small"


@pytest.mark.medium
def test_a_larger_lattice_begins_with_what_was_learnt(trained, capsys, caplog):
    given = [*SMALL, "folder=large", f"train.begin_from={trained}", "system.extent=[6]"]
    assert ritz(capsys, "train", *given, "train.full_sum=true")[0] == 0
    assert "Beginning with small after 12 steps" in caplog.text
    ends, begins = column("small", "Energy.Mean")[-1], column("large", "Energy.Mean")[0]
    fresh = [*SMALL, "folder=fresh", "system.extent=[6]", "train.full_sum=true"]
    assert ritz(capsys, "train", *fresh)[0] == 0
    at_random = column("fresh", "Energy.Mean")[0]
    assert abs(begins / 6 - ends / 4) < 0.3 * abs(at_random / 6 - ends / 4)


def test_the_same_model_begins_where_the_other_has_ended(trained, capsys):
    # The Hamiltonian may differ; the parameters of any model are taken as they are.
    given = [*SMALL, "folder=b", f"train.begin_from={trained}", "train.full_sum=true"]
    assert ritz(capsys, "train", *given, "train.iterations=1")[0] == 0
    assert column("b", "Energy.Mean")[0] < column("small", "Energy.Mean")[-1]
    # A run that goes on has parameters of its own, and does not need the other.
    Path(trained).rename("moved")
    assert ritz(capsys, "train", *given, "train.iterations=2")[0] == 0


@pytest.mark.medium
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["train.begin_from=nowhere"], "train.begin_from: there is no run in nowhere"),
        (["train.begin_from=small", "model=netket.models.RBM"], "two modules of the same class"),
        (["train.begin_from=small", "system.extent=[3]"], "cannot grow to"),
        (["train.begin_from=small", "model.alpha=1"], "alpha cannot go from 2 to 1"),
        (["train.step_control=SR"], "step_control must be a ritz.updates.StepControl"),
        (["train.step_control.max_infidelity=2"], "max_infidelity must be below 1, but 2"),
    ],
)
def test_what_does_not_fit_is_told(trained, capsys, more, message):
    status, _, error = ritz(capsys, "train", *SMALL, "folder=other", *more)
    assert status == 2 and message in error and error.count("\n") == 1


@pytest.mark.medium
def test_without_step_control_rows_have_no_scale(capsys):
    given = [*SMALL, "folder=plain", "train.step_control=null"]
    assert ritz(capsys, "train", *given)[0] == 0
    assert not len(column("plain", "info.step_scale"))
    given = [*SMALL, "folder=short", "train.step_control.max_infidelity=1e-4"]
    assert ritz(capsys, "train", *given)[0] == 0
    assert np.all(column("short", "info.step_scale")[:5] < 1)
