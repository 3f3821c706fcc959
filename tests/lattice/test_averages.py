"""Averages of parameters, and evaluations at zero variance, from training to the command line."""

import jax
import numpy as np
import pytest

from ritz.callbacks import ParameterEMA
from ritz.checkpoint import CheckpointError, load
from ritz.cli.main import main
from ritz.stages import EvaluationWorkStage, Pipeline, RunContext, read_digest
from tests.lattice.test_stages import FLIP, HAMILTONIAN, WAVEFUNCTION, training

pytestmark = [pytest.mark.netket, pytest.mark.medium]


def evaluation(parameters="average"):
    cfg = {"iterations": 20, "n_samples": 64, "parameters": parameters}
    builder = EvaluationWorkStage.builder(cfg, WAVEFUNCTION, name="evaluate")
    builder.configure_estimators(energy=HAMILTONIAN, flip=FLIP)
    return builder.build()


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_pipeline_evaluates_the_average(tmp_path):
    average, key = ParameterEMA(0.9), jax.random.key(0)
    pipeline = Pipeline([training(callbacks=[average]), evaluation()])
    states = pipeline.run(RunContext(tmp_path), key)
    assert_equal(states["evaluate"].params, average.parameters)
    first = jax.tree.leaves(states["train"].params)[0]
    assert np.any(first != jax.tree.leaves(average.parameters)[0])
    # A training that has ended is read from its checkpoint, and so is its average.
    again = ParameterEMA(0.9)
    states = Pipeline([training(callbacks=[again]), evaluation()]).run(RunContext(tmp_path), key)
    assert_equal(states["evaluate"].params, average.parameters)

    train = training()
    driver = train.driver(train.create_state(key), key)
    saved = tmp_path / "train" / "checkpoints" / "train"
    restored = ParameterEMA()
    assert load(saved, driver, callbacks=[restored]) == 30
    assert_equal(restored.average, average.parameters)
    other = ParameterEMA()
    other.name = "other"
    with pytest.raises(CheckpointError, match="was made without"):
        load(saved, driver, callbacks=[other])


def test_an_average_that_is_not_there_is_told(tmp_path):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="of stage train, which has 0 callbacks ParameterEMA"):
        Pipeline([training(iterations=1), evaluation()]).run(RunContext(tmp_path / "a"), key)
    late = ParameterEMA(start_from_step=100)
    with pytest.raises(ValueError, match="stage train: there is no average yet.*=100"):
        Pipeline([training(iterations=1, callbacks=[late]), evaluation()]).run(
            RunContext(tmp_path / "b"), key
        )
    with pytest.raises(ValueError, match="parameters must be 'last' or 'average', but 'best'"):
        evaluation("best")


SMALL = ["progress=false", "system.extent=[4]", "train.n_samples=64", "train.burn_in=2",
         "evaluate.iterations=40", "evaluate.n_samples=64"]  # fmt: skip


def test_commands_evaluate_the_average_and_extrapolate(tmp_path, capsys, caplog):
    folders = [str(tmp_path / name) for name in ("short", "long")]
    callbacks = ["train.callbacks=[ParameterEMA]", "train.callbacks.0.decay=0.9"]
    for folder, iterations in zip(folders, (10, 40), strict=True):
        given = [*SMALL, *callbacks, f"folder={folder}", f"train.iterations={iterations}"]
        assert main(["lattice", "train", *given]) == 0
        assert main(["lattice", "evaluate", *given, "evaluate.parameters=average"]) == 0
        assert f"Evaluating the average of the parameters after {iterations} steps" in caplog.text
    energies = [read_digest(folder)["Energy"] for folder in folders]
    assert all(one.variance_error > 0 for one in energies)
    capsys.readouterr()
    assert main(["extrapolate", *folders]) == 0
    out = capsys.readouterr().out
    assert out.count(": Energy -") == 2 and "at zero variance: -" in out and "(2 points" in out
    assert "doubtful: two points always lie on a line" in out
    assert main(["extrapolate", folders[0]]) == 2
    assert "at least two wave functions" in capsys.readouterr().err
    assert main(["extrapolate", *folders, "--energy=Enrgy"]) == 2
    assert "has no Enrgy; it has Energy" in capsys.readouterr().err
    plain = [*SMALL, f"folder={tmp_path / 'plain'}", "train.iterations=2"]
    assert main(["lattice", "train", *plain]) == 0
    assert main(["lattice", "evaluate", *plain, "evaluate.parameters=average"]) == 2
    error = capsys.readouterr().err
    assert "evaluate.parameters=average:" in error and "train.callbacks='[ParameterEMA]'" in error
