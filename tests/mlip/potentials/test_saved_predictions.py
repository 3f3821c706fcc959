"""Files with what a potential predicts after its training."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from ritz.mlip import TrainingConfig
from ritz.mlip.potentials.predictions import save_predictions

ENERGIES = pd.DataFrame({"energy": [1.0, 2.0]})


class Predicting:
    def predict_dataset(self, dataset, forces):
        return SimpleNamespace(to_dataframe=lambda: ENERGIES)


@pytest.mark.parametrize("process", [0, 1])
def test_the_first_of_several_processes_writes(monkeypatch, process):
    monkeypatch.setattr("jax.process_index", lambda: process)
    config = TrainingConfig(save_energies=True)
    tables = save_predictions(Predicting(), (object(), None), config, Path("saved"))
    assert tables["train"] is ENERGIES
    file = Path("saved/energies_train.csv")
    assert file.is_file() == (process == 0)
    if process == 0:
        pd.testing.assert_frame_equal(pd.read_csv(file), ENERGIES)
